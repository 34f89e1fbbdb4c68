// Turns a graph into the steps that a forward pass walks through: one a node, or one for a batch
// normalisation with the addition and the clamp that follow it. Everything that can be decided
// beforehand is decided here.
#pragma once

#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "executor/kernel.h"
#include "graph/graph.h"

namespace ds::executor {

struct Step {
  Kernel kernel;
  int node = 0;  // index in the graph, for messages; of a fused step its first node
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::vector<bool> is_weight;   // one an input: an initialiser
  bool may_overwrite = false;    // input 0's elements are needed by nobody else
  std::vector<ValueId> release;  // values that nobody reads after this step
};

// Unimplemented, naming node and op, for an op that the executor lacks. The graph must be valid and
// topologically sorted. `visible`: values that some step must make, not swallow.
absl::StatusOr<std::vector<Step>> MakePlan(const Graph& graph,
                                           const std::set<ValueId>& visible = {});

}  // namespace ds::executor
