#include <algorithm>
#include <utility>
#include <vector>

#include "graph/passes/passes.h"

namespace ds {
namespace {

constexpr int64_t kMostElements = 1 << 16;

// The initialiser that the node only gives another name, where it is small and no output.
const Tensor* Renamed(const Graph& graph, const Node& node) {
  if (node.op != "Identity" || node.inputs.size() != 1 || node.outputs.size() != 1) return nullptr;
  if (node.inputs[0] == kNoValue || node.outputs[0] == kNoValue) return nullptr;
  const auto& outputs = graph.outputs();
  if (std::count(outputs.begin(), outputs.end(), node.outputs[0]) > 0) return nullptr;
  const Tensor* data = graph.Constant(node.inputs[0]);
  return data != nullptr && data->num_elements() <= kMostElements ? data : nullptr;
}

}  // namespace

void SeparateEqualTensors(Graph& graph) {
  std::vector<Node> kept;
  for (Node& node : graph.mutable_nodes()) {
    const Tensor* data = Renamed(graph, node);
    if (data == nullptr) {
      kept.push_back(std::move(node));
      continue;
    }
    Tensor own = data->Clone();
    Value& value = graph.mutable_value(node.outputs[0]);
    value.dtype = own.dtype();
    value.shape = own.shape();
    graph.mutable_initializers()[node.outputs[0]] = {.data = std::move(own), .trainable = false};
  }
  graph.mutable_nodes() = std::move(kept);
}

}  // namespace ds
