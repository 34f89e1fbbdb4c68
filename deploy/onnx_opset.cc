#include "deploy/onnx_opset.h"

#include <algorithm>

#include "base/status.h"
#include "graph/onnx/onnx.h"

namespace ds {
namespace {

constexpr int kDefaultOpset = 17;
constexpr int kFourBitOpset = 21;
constexpr int kTwoBitOpset = 25;

}  // namespace

int OldestOpsetFor(const Graph& graph) {
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

absl::StatusOr<OnnxFile> EncodeOnnx(const Graph& graph, int opset, bool compact,
                                    const std::string& producer_name) {
  OnnxFile file = {.opset = opset != 0 ? opset : OldestOpsetFor(graph)};
  DS_ASSIGN_OR_RETURN(file.bytes, ExportOnnxToBytes(graph, {.opset = file.opset,
                                                            .compact = compact,
                                                            .producer_name = producer_name}));
  return file;
}

}  // namespace ds
