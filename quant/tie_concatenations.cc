#include "quant/tie_concatenations.h"

#include <set>

#include "graph/passes/uses.h"

namespace ds {
namespace {

constexpr float kLeastShare = 0.5f;  // of the result's scale

}  // namespace

void TieConcatenations(const Graph& graph, const QuantSelection& selection, QuantPlan& plan) {
  const Uses uses(graph);
  std::set<ValueId> sites;
  for (const ActivationSite& site : selection.activations) {
    if (!site.unit_range) sites.insert(site.value);
  }
  for (const Node& node : graph.nodes()) {
    if (node.op != "Concat") continue;
    const auto whole = plan.activations.find(graph.value(node.outputs[0]).name);
    if (whole == plan.activations.end()) continue;
    for (const ValueId id : node.inputs) {
      const auto part = plan.activations.find(graph.value(id).name);
      if (part == plan.activations.end() || !sites.contains(id) || uses.Count(id) != 1) continue;
      const bool alike = part->second.type == whole->second.type &&
                         part->second.scales[0] >= kLeastShare * whole->second.scales[0];
      if (alike) part->second = whole->second;
    }
  }
}

}  // namespace ds
