// Names for extents that are known only at run time: ONNX wants the same name where the extent is
// the same, and another where it may differ.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "graph/graph.h"

namespace ds::onnx_io {

// (value, axis) -> name, for every dynamic extent of the graph's values.
using DimNames = std::map<std::pair<ValueId, int>, std::string>;

// Shapes must be inferred. Extent 0 of the first input is "batch"; other inputs' are
// "<input>_<axis>". An extent in between gets the name of the input extent it always equals, found
// by inferring the shapes twice with numbers put in for the names; where that tells nothing it gets
// a name of its own.
DimNames NameDynamicDims(const Graph& graph);

// The same for telling which extents are equal, not for a file: extents of inputs without whose
// equality the shapes do not fit (a state's batch beside the input's) have one name. A Where of
// one condition gives no such reason: its operands may be broadcast.
DimNames NameEqualDims(const Graph& graph);

}  // namespace ds::onnx_io
