#include "deploy/onnx_opset.h"

#include "base/status.h"

namespace ds {

absl::StatusOr<OnnxFile> EncodeOnnx(const Graph& graph, OnnxExportOptions options) {
  if (options.opset == 0) options.opset = OnnxExportOptions().opset;
  OnnxFile file;
  DS_ASSIGN_OR_RETURN(file.bytes, ExportOnnxToBytes(graph, options, &file.opset));
  return file;
}

}  // namespace ds
