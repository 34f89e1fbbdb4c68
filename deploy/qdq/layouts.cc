#include "deploy/qdq/layouts.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/weights.h"
#include "graph/schema/schema.h"
#include "quant/weight_params.h"

namespace ds::qdq {
namespace {

// The axis that the scales of a reader's weight should run along; -1: nothing is known.
int WantedAxis(const Node& node, int slot, int rank, const QuantParams& params) {
  const int output = OutputAxis(node, slot, rank);
  if (output < 0 || params.group == 0 || rank != 2) return output;
  return 1 - output;
}

// The same numbers with the other layout's scales, under a name of its own.
absl::StatusOr<ValueId> Copy(Graph& graph, QuantPlan& plan, ValueId id, int axis) {
  const QuantParams params = plan.weights.at(graph.value(id).name);
  const Tensor weight = graph.Constant(id)->Clone();
  DS_ASSIGN_OR_RETURN(QuantParams own, ChooseWeightParams(weight.span<float>(), weight.shape(),
                                                          {.bits = params.type.bits,
                                                           .axis = axis,
                                                           .group = params.group,
                                                           .narrow = params.type.narrow}));
  const ValueId copy = graph.AddInitializer(absl::StrCat(graph.value(id).name, ".along", axis),
                                            weight.Clone(), false);
  plan.weights[graph.value(copy).name] = std::move(own);
  return copy;
}

// Whether some reader wants the scales where the plan has them: otherwise the plan is another one's
// to judge.
bool FitsAReader(const Graph& graph, ValueId id, const QuantParams& params) {
  for (const Node& node : graph.nodes()) {
    for (const int slot : WeightSlots(node)) {
      if (node.inputs[static_cast<size_t>(slot)] != id) continue;
      if (WantedAxis(node, slot, graph.Constant(id)->rank(), params) == params.axis) return true;
    }
  }
  return false;
}

}  // namespace

absl::Status SeparateLayouts(Graph& graph, QuantPlan& plan) {
  std::map<std::pair<ValueId, int>, ValueId> copies;  // by the axis of their scales
  for (Node& node : graph.mutable_nodes()) {
    if (plan.left_in_float.contains(node.name)) continue;
    for (const int slot : WeightSlots(node)) {
      const ValueId id = node.inputs[static_cast<size_t>(slot)];
      if (!graph.IsInitializer(id)) continue;
      const auto planned = plan.weights.find(graph.value(id).name);
      if (planned == plan.weights.end() || planned->second.axis == QuantParams::kWholeTensor)
        continue;
      const int axis = WantedAxis(node, slot, graph.Constant(id)->rank(), planned->second);
      if (axis < 0 || axis == planned->second.axis) continue;
      auto copy = copies.find({id, axis});
      if (copy == copies.end()) {
        if (!FitsAReader(graph, id, planned->second)) continue;
        DS_ASSIGN_OR_RETURN(const ValueId made, Copy(graph, plan, id, axis));
        copy = copies.emplace(std::make_pair(id, axis), made).first;
      }
      node.inputs[static_cast<size_t>(slot)] = copy->second;
    }
  }
  return copies.empty() ? absl::OkStatus() : InferShapes(graph);
}

}  // namespace ds::qdq
