#include "deploy/onnx_exporter.h"

#include "base/file/file.h"
#include "base/status.h"
#include "deploy/onnx_opset.h"

namespace ds {

absl::StatusOr<OnnxExportResult> OnnxExporter::Export(const Graph& graph, const QuantPlan& plan,
                                                      const std::string& path) const {
  QdqReport report;
  DS_ASSIGN_OR_RETURN(const Graph placed, InsertQdq(graph, plan, options_.qdq, &report));
  DS_ASSIGN_OR_RETURN(OnnxExportResult result, Write(placed, path));
  result.report = std::move(report);
  return result;
}

absl::StatusOr<OnnxExportResult> OnnxExporter::Write(const Graph& placed,
                                                     const std::string& path) const {
  DS_ASSIGN_OR_RETURN(const OnnxFile file, EncodeOnnx(placed, options_.onnx));
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, file.bytes));
  OnnxExportResult result;
  result.opset = file.opset;
  result.bytes = static_cast<int64_t>(file.bytes.size());
  return result;
}

}  // namespace ds
