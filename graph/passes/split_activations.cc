#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/passes/passes.h"

namespace ds {

absl::Status SplitGatedActivations(Graph& graph) {
  std::vector<Node> nodes = std::exchange(graph.mutable_nodes(), {});
  for (Node& node : nodes) {
    const bool silu = node.op == "SiLU";
    if (!silu && node.op != "HardSwish") {
      graph.AddNode(std::move(node));
      continue;
    }
    const ValueId x = node.inputs[0];
    const Value& result = graph.value(node.outputs[0]);
    const ValueId gate =
        graph.AddValue(absl::StrCat(result.name, ".gate"), result.dtype, result.shape);
    Attributes attributes;
    if (!silu) attributes = {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}};
    graph.AddNode({.name = absl::StrCat(node.name, ".gate"),
                   .op = silu ? "Sigmoid" : "HardSigmoid",
                   .inputs = {x},
                   .outputs = {gate},
                   .attributes = std::move(attributes)});
    node.op = "Mul";
    node.inputs = {x, gate};
    node.attributes.clear();
    graph.AddNode(std::move(node));
  }
  return graph.Validate();
}

}  // namespace ds
