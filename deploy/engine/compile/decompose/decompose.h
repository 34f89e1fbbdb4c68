// Operators that the engine has no kernel for, but several that compute the same: normalisations,
// one-dimensional and volumetric windows, sums of several, products of other forms. On a graph
// whose shapes are known.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// Infers shapes of what it made. What it cannot take apart stays for lowering to refuse by name.
absl::Status Decompose(Graph& graph);

}  // namespace ds::engine::compile
