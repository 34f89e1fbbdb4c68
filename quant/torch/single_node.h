// One node of a graph as a module of its own, for trying out what a change of its input does.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "executor/graph_module.h"

namespace ds {

// Its only input is the node's computed operand; constants come along. FailedPrecondition if not
// exactly one operand is computed.
absl::StatusOr<std::unique_ptr<GraphModule>> SingleNodeModule(const Graph& graph, int node);

}  // namespace ds
