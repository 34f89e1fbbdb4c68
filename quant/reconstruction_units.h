// Cuts a network into the parts whose outputs are reconstructed one after another when weights are
// rounded: layers where the graph is a chain, residual blocks where it is not.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "quant/selection.h"

namespace ds {

struct ReconstructionUnit {
  std::vector<int> nodes;        // indices in the graph, ascending, without gaps
  std::vector<ValueId> inputs;   // computed values (or inputs of the graph) from outside
  std::vector<ValueId> outputs;  // what later nodes or the graph's outputs read
};

// In the graph's order. The graph is cut where a single value is all that later nodes need, so a
// unit reads one value and gives one (the first may read all of the graph's inputs, the last may
// give all of its outputs). Every unit has a weight of `selection`; an activation function behind
// it belongs to it, other operators without weights belong to the unit behind them. What comes
// behind the last weight and is no activation function is in no unit.
std::vector<ReconstructionUnit> ReconstructionUnits(const Graph& graph,
                                                    const QuantSelection& selection);

}  // namespace ds
