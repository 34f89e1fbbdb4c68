// A prepared graph as a program of the engine's operators.
#pragma once

#include "absl/status/statusor.h"
#include "deploy/engine/compile/compile.h"
#include "deploy/engine/compile/program.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// `graph` as Prepare() leaves it. Unimplemented for what has no kernel: names the node.
absl::StatusOr<Program> Lower(const Graph& graph, const CompileOptions& options);

}  // namespace ds::engine::compile
