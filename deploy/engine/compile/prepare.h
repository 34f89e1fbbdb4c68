// What a graph goes through before it is lowered.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "deploy/engine/compile/compile.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// Fixes the batch, folds what is constant, and infers shapes, all of them known then. `stays`: why
// a batch norm stays a step of its own, by its node's name.
absl::StatusOr<Graph> Prepare(Graph graph, const CompileOptions& options,
                              std::map<std::string, std::string>& stays);

}  // namespace ds::engine::compile
