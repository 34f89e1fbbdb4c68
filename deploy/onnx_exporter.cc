#include "deploy/onnx_exporter.h"

#include "base/file.h"
#include "base/status.h"
#include "deploy/onnx_opset.h"
#include "graph/onnx/onnx.h"

namespace ds {

absl::StatusOr<OnnxExportResult> OnnxExporter::Export(const Graph& graph, const QuantPlan& plan,
                                                      const std::string& path) const {
  OnnxExportResult result;
  DS_ASSIGN_OR_RETURN(const Graph quantised, InsertQdq(graph, plan, options_.qdq, &result.report));
  result.opset = options_.opset != 0 ? options_.opset : OldestOpsetFor(quantised);
  DS_ASSIGN_OR_RETURN(const std::string bytes,
                      ExportOnnxToBytes(quantised, {.opset = result.opset,
                                                    .compact = options_.compact,
                                                    .producer_name = options_.producer_name}));
  result.bytes = static_cast<int64_t>(bytes.size());
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, bytes));
  return result;
}

}  // namespace ds
