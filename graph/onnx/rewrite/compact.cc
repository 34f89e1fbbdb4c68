#include "graph/onnx/rewrite/compact.h"

#include <vector>

namespace ds::onnx_io {

Graph Compact(const Graph& graph) {
  Graph compact;
  compact.name = graph.name;
  compact.metadata = graph.metadata;
  std::vector<ValueId> moved(graph.values().size(), kNoValue);
  for (const ValueId id : graph.inputs()) {
    const Value& value = graph.value(id);
    moved[id] = compact.AddInput(value.name, value.dtype, *value.shape);
  }
  for (const auto& [id, initializer] : graph.initializers()) {
    moved[id] =
        compact.AddInitializer(graph.value(id).name, initializer.data, initializer.trainable);
  }
  for (const Node& node : graph.nodes()) {
    for (const ValueId id : node.outputs) {
      const Value& value = graph.value(id);
      moved[id] = compact.AddValue(value.name, value.dtype, value.shape);
    }
  }
  for (Node node : graph.nodes()) {
    for (ValueId& id : node.inputs) id = id == kNoValue ? kNoValue : moved[id];
    for (ValueId& id : node.outputs) id = moved[id];
    compact.AddNode(std::move(node));
  }
  for (const ValueId id : graph.outputs()) compact.MarkOutput(moved[id]);
  return compact;
}

}  // namespace ds::onnx_io
