// Runs a part of a graph node by node, with some of its constants given anew each time and every
// value open to change: what learning about a part needs, without a graph of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "quant/reconstruction_units.h"

namespace ds {

using ValueMap = std::map<ValueId, at::Tensor>;

class UnitRunner {
 public:
  // Initialisers in `open` are read from the values of each run; the others as they are now.
  static absl::StatusOr<UnitRunner> Create(const Graph& graph, const ReconstructionUnit& unit,
                                           const std::set<ValueId>& open);

  // What later nodes read in place of a value that a node has made. Null: the value.
  using Change = std::function<at::Tensor(ValueId, const at::Tensor&)>;
  // `values`: the unit's inputs and open initialisers. The unit's outputs as they were made, before
  // `change`. Differentiable where gradients are enabled.
  absl::StatusOr<ValueMap> Run(ValueMap values, const Change& change) const;

 private:
  struct Step {
    std::unique_ptr<GraphModule> module;  // the node alone
    std::vector<ValueId> inputs, outputs;
  };

  std::vector<Step> steps_;
  std::vector<ValueId> outputs_;
};

}  // namespace ds
