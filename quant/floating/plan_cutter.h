// Takes values out of a plan, so that they stay float.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"

namespace ds {

class PlanCutter {
 public:
  // Both must outlive it; `selection` is of `graph`.
  PlanCutter(const Graph& graph, const QuantSelection& selection);

  // Without `values`, and what is of no use then: weights and other values whose integers serve no
  // node.
  QuantPlan Without(QuantPlan plan, const std::set<ValueId>& values) const;

  // A site's value and what only moves its numbers.
  std::vector<ValueId> Moved(ValueId id) const;

  // The nodes that compute with integers. Runtimes take a matrix product's result in float; all
  // others want integers on both sides, results behind the Relu or Clip that alone reads them.
  std::set<int> IntegerNodes(const QuantPlan& plan) const;

  // Where a node's result has its integers: itself, or behind its Relu or Clip; kNoValue.
  ValueId IntegerResult(const Node& node, const QuantPlan& plan) const;

 private:
  const std::string& Name(ValueId id) const { return graph_.value(id).name; }
  void Erase(ValueId id, QuantPlan& plan) const;
  bool ComputesIntegers(const Node& node, const QuantPlan& plan) const;
  bool IsOfUse(const ActivationSite& site, const std::set<int>& integers) const;

  const Graph& graph_;
  const QuantSelection& selection_;
  std::map<ValueId, std::vector<ValueId>> moved_;  // source -> values of its numbers
  std::map<ValueId, int> makers_;
};

// What of the selection is in the plan.
QuantSelection SelectionIn(const Graph& graph, const QuantSelection& selection,
                           const QuantPlan& plan);

}  // namespace ds
