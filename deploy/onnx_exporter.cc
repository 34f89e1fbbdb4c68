#include "deploy/onnx_exporter.h"

#include <algorithm>

#include "base/file.h"
#include "base/status.h"
#include "graph/onnx/onnx.h"

namespace ds {
namespace {

constexpr int kDefaultOpset = 17;
constexpr int kFourBitOpset = 21;
constexpr int kTwoBitOpset = 25;

int OpsetFor(const Graph& graph) {
  int opset = kDefaultOpset;
  for (const Value& value : graph.values()) {
    const int bits = BitWidth(value.dtype);
    if (bits < 8) opset = std::max(opset, bits < 4 ? kTwoBitOpset : kFourBitOpset);
  }
  for (const Node& node : graph.nodes()) {
    if (node.attributes.contains("block_size")) opset = std::max(opset, kFourBitOpset);
  }
  return opset;
}

}  // namespace

absl::StatusOr<OnnxExportResult> OnnxExporter::Export(const Graph& graph, const QuantPlan& plan,
                                                      const std::string& path) const {
  OnnxExportResult result;
  DS_ASSIGN_OR_RETURN(const Graph quantised, InsertQdq(graph, plan, options_.qdq, &result.report));
  result.opset = options_.opset != 0 ? options_.opset : OpsetFor(quantised);
  DS_ASSIGN_OR_RETURN(const std::string bytes,
                      ExportOnnxToBytes(quantised, {.opset = result.opset,
                                                    .compact = options_.compact,
                                                    .producer_name = options_.producer_name}));
  result.bytes = static_cast<int64_t>(bytes.size());
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, bytes));
  return result;
}

}  // namespace ds
