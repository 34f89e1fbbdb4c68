// What a graph goes through before it is lowered.
#pragma once

#include "absl/status/statusor.h"
#include "deploy/engine/compile/compile.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// Fixes the batch, folds what is constant, and infers shapes, all of them known then.
absl::StatusOr<Graph> Prepare(Graph graph, int64_t batch, const PassSwitches& passes);

}  // namespace ds::engine::compile
