#include "quant/floating/plan_cutter.h"

#include <algorithm>
#include <utility>

namespace ds {

PlanCutter::PlanCutter(const Graph& graph, const QuantSelection& selection)
    : graph_(graph), selection_(selection) {
  for (const SharedSite& shared : selection.shared) moved_[shared.source].push_back(shared.value);
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    for (const ValueId id : graph.nodes()[n].outputs) makers_[id] = static_cast<int>(n);
  }
}

QuantPlan PlanCutter::Without(QuantPlan plan, const std::set<ValueId>& values) const {
  for (const ValueId id : values) Erase(id, plan);
  for (bool changed = true; changed;) {
    changed = false;
    const std::set<int> integers = IntegerNodes(plan);
    for (const WeightSite& site : selection_.weights) {
      const std::vector<int> readers = graph_.Consumers(site.weight);
      const bool used = std::ranges::any_of(readers, [&](int n) { return integers.contains(n); });
      if (!used) plan.weights.erase(Name(site.weight));
    }
    for (const ActivationSite& site : selection_.activations) {
      if (!plan.activations.contains(Name(site.value)) || IsOfUse(site, integers)) continue;
      Erase(site.value, plan);
      changed = true;
    }
  }
  return plan;
}

std::vector<ValueId> PlanCutter::Moved(ValueId id) const {
  std::vector<ValueId> all = {id};
  for (size_t i = 0; i < all.size(); ++i) {
    const auto found = moved_.find(all[i]);
    if (found != moved_.end()) all.insert(all.end(), found->second.begin(), found->second.end());
  }
  return all;
}

std::set<int> PlanCutter::IntegerNodes(const QuantPlan& plan) const {
  std::set<int> integers;
  for (size_t n = 0; n < graph_.nodes().size(); ++n) {
    if (ComputesIntegers(graph_.nodes()[n], plan)) integers.insert(static_cast<int>(n));
  }
  return integers;
}

ValueId PlanCutter::IntegerResult(const Node& node, const QuantPlan& plan) const {
  const ValueId result = node.outputs[0];
  if (plan.activations.contains(Name(result))) return result;
  const std::vector<int> readers = graph_.Consumers(result);
  if (readers.size() != 1) return kNoValue;
  const Node& clamp = graph_.nodes()[static_cast<size_t>(readers[0])];
  const bool clamped = (clamp.op == "Relu" || clamp.op == "Clip") &&
                       plan.activations.contains(Name(clamp.outputs[0]));
  return clamped ? clamp.outputs[0] : kNoValue;
}

void PlanCutter::Erase(ValueId id, QuantPlan& plan) const {
  for (const ValueId one : Moved(id)) plan.activations.erase(Name(one));
}

bool PlanCutter::ComputesIntegers(const Node& node, const QuantPlan& plan) const {
  if (HandsOnValues(node)) return false;
  for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
    const ValueId id = node.inputs[slot];
    if (id == kNoValue || (slot == 2 && (node.op == "Conv" || node.op == "Gemm"))) continue;
    const std::string& name = Name(id);
    if (!plan.activations.contains(name) && !plan.weights.contains(name) &&
        !plan.constants.contains(name))
      return false;
  }
  return node.op == "Gemm" || node.op == "MatMul" || IntegerResult(node, plan) != kNoValue;
}

// A node that reads it, or the one that makes it, computes with integers.
bool PlanCutter::IsOfUse(const ActivationSite& site, const std::set<int>& integers) const {
  if (std::ranges::any_of(site.readers, [&](int n) { return integers.contains(n); })) return true;
  auto maker = makers_.find(site.value);
  if (maker == makers_.end()) return false;
  if (integers.contains(maker->second)) return true;
  const Node& node = graph_.nodes()[static_cast<size_t>(maker->second)];
  if (node.op != "Relu" && node.op != "Clip") return false;
  maker = makers_.find(node.inputs[0]);
  return maker != makers_.end() && integers.contains(maker->second);
}

QuantSelection SelectionIn(const Graph& graph, const QuantSelection& selection,
                           const QuantPlan& plan) {
  QuantSelection left = selection;
  const auto name = [&graph](ValueId id) { return graph.value(id).name; };
  std::erase_if(left.weights,
                [&](const WeightSite& site) { return !plan.weights.contains(name(site.weight)); });
  std::erase_if(left.multipliers, [&](int n) {
    return !plan.weights.contains(name(graph.nodes()[static_cast<size_t>(n)].inputs[1]));
  });
  std::erase_if(left.activations, [&](const ActivationSite& site) {
    return !plan.activations.contains(name(site.value));
  });
  std::erase_if(left.shared, [&](const SharedSite& shared) {
    return !plan.activations.contains(name(shared.value));
  });
  return left;
}

}  // namespace ds
