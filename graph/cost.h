// What a node costs, for one sample: arithmetic that dominates a network's, and memory traffic,
// which is all that the rest costs. Figures are of the graph as it stands, before a runtime fuses
// anything.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace ds {

struct NodeCost {
  // Products that are added up: Conv, ConvTranspose, Gemm, MatMul, Einsum, LSTM, GRU, RNN, the
  // weighted sums of Resize (linear, cubic), GridSample and RoiAlign. Activations, normalisations,
  // pooling, reductions and sorting count 0, as in the figures that papers publish of networks.
  int64_t macs = 0;
  // Read and written: operands, results, weights. What only renames or reshapes moves nothing, and
  // what picks elements reads those that it writes. Values of unknown shape count 0.
  int64_t bytes = 0;
};

// A dynamic extent counts once (the batch of one sample). Shapes should be inferred already.
// INT64_MAX where a number does not fit.
NodeCost CostOf(const Graph& graph, const Node& node);

// Whether the operator's cost is known; true for every operator of the schema table.
bool HasCost(absl::string_view op);

}  // namespace ds
