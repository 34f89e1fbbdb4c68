#include "deploy/onnx_opset.h"

#include <algorithm>

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

}  // namespace ds
