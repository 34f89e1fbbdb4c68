// Makes a graph small in a file, for export.
#pragma once

#include "graph/graph.h"

namespace ds::onnx_io {

// Short names for all values but the graph's inputs and outputs, the shortest for those that are
// mentioned most; attributes that only repeat their default are dropped. Deterministic.
void Shorten(Graph& graph);

}  // namespace ds::onnx_io
