// A quantised graph as an ONNX file of the opset that it needs.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/onnx/onnx.h"

namespace ds {

struct OnnxFile {
  int opset = 0;
  std::string bytes;
};

// `options.opset` 0: 17, or 20 where a Gelu reads codes. Errors are ExportOnnx's.
absl::StatusOr<OnnxFile> EncodeOnnx(const Graph& graph, OnnxExportOptions options);

}  // namespace ds
