// Which ONNX opset a quantised graph needs.
#pragma once

#include "graph/graph.h"

namespace ds {

// The oldest that has all of the graph's types and attributes, but not below 17: int4 and scales
// for groups need 21, int2 needs 25.
int OldestOpsetFor(const Graph& graph);

}  // namespace ds
