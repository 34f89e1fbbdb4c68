// Drops what an imported graph no longer needs.
#pragma once

#include "graph/graph.h"

namespace ds::onnx_io {

// The same graph with only the values that its inputs, initialisers and nodes hold, under the same
// names. Passes leave values behind that nothing writes; their names would be taken for good.
Graph Compact(const Graph& graph);

}  // namespace ds::onnx_io
