// What a graph computes, node by node in plain loops over [N, C, H, W], by the operators'
// definitions: the judge of what the engine makes of it. Written apart from the engine.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace ds::testing {

// Numbers of any type as doubles that hold them exactly.
struct Numbers {
  Shape shape;
  std::vector<double> values;
};

// Shapes must be inferred. Throws std::runtime_error for an operator that it does not know.
std::vector<Numbers> Evaluate(const Graph& graph, const std::vector<Numbers>& inputs);

}  // namespace ds::testing
