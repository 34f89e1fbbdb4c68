// Weights that a file keeps in another form than their reader takes.
#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tensor/untouched.h"
#include "graph/passes/derived.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

bool IsFloatInitializer(const Graph& graph, ValueId id) {
  const Tensor* tensor = id == kNoValue ? nullptr : graph.Constant(id);
  return tensor != nullptr && IsFloatingPoint(tensor->dtype());
}

bool OthersAreConstant(const Graph& graph, const Node& node) {
  return std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                     [&graph](ValueId id) { return id == kNoValue || graph.IsInitializer(id); });
}

bool IsLayoutOfInitializer(const Graph& graph, const Node& node) {
  return !node.inputs.empty() && node.outputs.size() == 1 &&
         IsFloatInitializer(graph, node.inputs[0]) && IsLayout(graph, node) &&
         OthersAreConstant(graph, node);
}

// Value `to` becomes the initialiser `data`, and takes the name of `from` where nothing else needs
// it.
void Become(Graph& graph, ValueId to, Tensor data, bool trainable, ValueId heir_of) {
  if (heir_of != kNoValue) {
    std::string name = graph.value(heir_of).name;
    std::string aside = absl::StrCat(name, ".stored");
    while (graph.FindValue(aside) != kNoValue) aside += '_';
    graph.RenameValue(heir_of, std::move(aside));
    graph.RenameValue(to, std::move(name));
    graph.mutable_initializers().erase(heir_of);
  }
  graph.mutable_value(to).shape = data.shape();
  graph.mutable_initializers()[to] = {.data = std::move(data), .trainable = trainable};
}

// The one trainable initialiser that the node reads, if nothing else reads it; else kNoValue.
ValueId Heir(const Graph& graph, const Uses& uses, const Node& node) {
  ValueId heir = kNoValue;
  for (const ValueId id : node.inputs) {
    const auto found = id == kNoValue ? graph.initializers().end() : graph.initializers().find(id);
    if (found == graph.initializers().end() || !found->second.trainable) continue;
    if (heir != kNoValue || uses.Count(id) != 1) return kNoValue;
    heir = id;
  }
  return heir;
}

bool ReadsTrainable(const Graph& graph, const Node& node) {
  return std::any_of(node.inputs.begin(), node.inputs.end(), [&graph](ValueId id) {
    const auto found = id == kNoValue ? graph.initializers().end() : graph.initializers().find(id);
    return found != graph.initializers().end() && found->second.trainable;
  });
}

bool IsOutput(const Graph& graph, ValueId id) {
  return std::find(graph.outputs().begin(), graph.outputs().end(), id) != graph.outputs().end();
}

void Keep(Graph& graph, const std::vector<bool>& removed) {
  std::vector<Node> kept;
  for (size_t i = 0; i < removed.size(); ++i) {
    if (!removed[i]) kept.push_back(std::move(graph.mutable_nodes()[i]));
  }
  graph.mutable_nodes() = std::move(kept);
}

using LayoutKey = std::tuple<std::string, std::vector<ValueId>, std::vector<int64_t>, Shape, DType>;

// Two nodes that arrange one weight alike become one: a layer that is used twice.
void MergeEqualLayouts(Graph& graph) {
  std::map<LayoutKey, ValueId> first;
  std::vector<bool> removed(graph.nodes().size(), false);
  for (size_t i = 0; i < removed.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!IsLayoutOfInitializer(graph, node) || IsOutput(graph, node.outputs[0])) continue;
    const Value& out = graph.value(node.outputs[0]);
    const auto [at, is_new] = first.emplace(
        LayoutKey{node.op, {node.inputs[0]}, node.GetInts("perm", {}), *out.shape, out.dtype},
        node.outputs[0]);
    if (is_new) continue;
    graph.ReplaceUses(node.outputs[0], at->second);
    removed[i] = true;
  }
  Keep(graph, removed);
}

}  // namespace

absl::Status FoldLayouts(Graph& graph, bool with_values) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  MergeEqualLayouts(graph);
  const Uses uses(graph);
  std::vector<bool> removed(graph.nodes().size(), false);
  for (size_t i = 0; i < removed.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (!IsLayoutOfInitializer(graph, node) || IsOutput(graph, node.outputs[0])) continue;
    // Read elsewhere too, it is one weight in two layouts, and so it must train.
    const ValueId root = node.inputs[0];
    if (uses.Count(root) != 1) continue;
    const Value& out = graph.value(node.outputs[0]);
    std::optional<Tensor> data;
    if (!with_values) {
      DS_ASSIGN_OR_RETURN(data, UntouchedTensor(out.dtype, *out.shape));
    } else {
      data = ComputeLayout(graph, node);
    }
    if (!data) continue;
    Become(graph, node.outputs[0], *std::move(data), graph.initializers().at(root).trainable, root);
    removed[i] = true;
  }
  Keep(graph, removed);
  return EliminateDeadNodes(graph);
}

absl::Status FoldWeights(Graph& graph) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  const Uses uses(graph);
  std::vector<bool> removed(graph.nodes().size(), false);
  for (size_t i = 0; i < removed.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (node.outputs.empty() || IsOutput(graph, node.outputs[0])) continue;
    std::optional<Tensor> data = ComputeFloats(graph, node);
    if (!data) continue;
    Become(graph, node.outputs[0], *std::move(data), ReadsTrainable(graph, node),
           Heir(graph, uses, node));
    removed[i] = true;
  }
  Keep(graph, removed);
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  return InferShapes(graph);
}

}  // namespace ds
