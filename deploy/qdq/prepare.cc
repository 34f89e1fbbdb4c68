#include "deploy/qdq/prepare.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"
#include "quant/selection.h"

namespace ds::qdq {
namespace {

using Activations = std::map<std::string, QuantParams>;

// Gives two names of what will be one value the same parameters; the first one's if both have some.
void Share(Activations& activations, const std::string& first, const std::string& second) {
  auto known = activations.find(first);
  if (known == activations.end()) known = activations.find(second);
  if (known == activations.end()) return;
  const QuantParams params = known->second;
  activations[first] = params;
  activations[second] = params;
}

// Dropout does nothing at inference; its mask goes with it where nobody looks at it.
void DropoutToIdentity(Graph& graph, Activations& activations) {
  const Uses uses(graph);
  for (Node& node : graph.mutable_nodes()) {
    const bool masks = node.outputs.size() > 1 && uses.Count(node.outputs[1]) > 0;
    if (node.op == "Dropout" && !masks) {
      node.op = "Identity";
      node.inputs.resize(1);
      node.outputs.resize(1);
      node.attributes.clear();
    }
    if (node.op != "Identity") continue;
    const Value& input = graph.value(node.inputs[0]);
    if (input.dtype != DType::kFloat32 || graph.IsInitializer(node.inputs[0])) continue;
    Share(activations, input.name, graph.value(node.outputs[0]).name);
  }
}

// Makes `node` a GlobalAveragePool; returns the Flatten that must follow it, if any.
std::optional<Node> ToPool(Graph& graph, Node& node, absl::flat_hash_set<std::string>& node_names) {
  const bool keeps_axes = node.GetInt("keepdims", 1) != 0;
  node.op = "GlobalAveragePool";
  node.inputs.resize(1);
  node.attributes.clear();
  if (keeps_axes) return std::nullopt;
  std::string name = node.name + ".flatten";
  while (!node_names.insert(name).second) name += "_";
  const ValueId flat = node.outputs[0];
  node.outputs[0] = graph.AddValue(absl::StrCat(graph.value(flat).name, ".pooled"));
  return Node{.name = std::move(name),
              .op = "Flatten",
              .inputs = {node.outputs[0]},
              .outputs = {flat},
              .attributes = {{"axis", int64_t{1}}}};
}

void MeansToPools(Graph& graph) {
  std::vector<Node> nodes = std::exchange(graph.mutable_nodes(), {});
  absl::flat_hash_set<std::string> names;
  for (const Node& node : nodes) names.insert(node.name);
  for (Node& node : nodes) {
    std::optional<Node> flatten;
    if (IsMeanOverSpace(graph, node)) flatten = ToPool(graph, node, names);
    graph.AddNode(std::move(node));
    if (flatten) graph.AddNode(*std::move(flatten));
  }
}

}  // namespace

absl::StatusOr<Prepared> Prepare(const Graph& folded, const QuantPlan& plan) {
  Prepared prepared{folded, plan.activations};
  DropoutToIdentity(prepared.graph, prepared.activations);
  DS_RETURN_IF_ERROR(EliminateIdentities(prepared.graph));
  DS_RETURN_IF_ERROR(InferShapes(prepared.graph));
  MeansToPools(prepared.graph);
  DS_RETURN_IF_ERROR(EliminateDeadNodes(prepared.graph));
  DS_RETURN_IF_ERROR(InferShapes(prepared.graph));
  return prepared;
}

}  // namespace ds::qdq
