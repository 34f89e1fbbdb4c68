#include "quant/torch/single_node.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<std::unique_ptr<GraphModule>> SingleNodeModule(const Graph& graph, int node_index) {
  const Node& node = graph.nodes()[static_cast<size_t>(node_index)];
  Graph alone;
  alone.name = node.name;
  Node copy = node;
  int computed = 0;
  for (ValueId& id : copy.inputs) {
    if (id == kNoValue) continue;
    const Value& value = graph.value(id);
    const Tensor* constant = graph.Constant(id);
    if (constant != nullptr) {
      id = alone.AddInitializer(value.name, *constant, false);
    } else {
      ++computed;
      Shape shape = value.shape.value_or(Shape{});
      if (!shape.empty()) shape[0] = kDynamicDim;
      id = alone.AddInput(value.name, value.dtype, std::move(shape));
    }
  }
  if (computed != 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("node '", node.name, "' has ", computed, " computed operands"));
  }
  for (ValueId& id : copy.outputs) {
    if (id != kNoValue) id = alone.AddValue(graph.value(id).name);
  }
  alone.MarkOutput(copy.outputs[0]);
  alone.AddNode(std::move(copy));
  return GraphModule::Create(std::move(alone));
}

}  // namespace ds
