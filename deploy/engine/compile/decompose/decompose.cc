#include "deploy/engine/compile/decompose/decompose.h"

#include <vector>

#include "base/status.h"
#include "deploy/engine/compile/decompose/rewriter.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

bool ShapesKnown(const Graph& graph, const Node& node) {
  const auto known = [&](ValueId id) {
    if (id == kNoValue) return true;
    const auto& shape = graph.value(id).shape;
    if (!shape) return false;
    for (const int64_t extent : *shape) {
      if (extent < 1) return false;
    }
    return true;
  };
  for (const ValueId id : node.inputs) {
    // A region or scales that are not given are empty.
    if (!known(id) && graph.Constant(id) == nullptr) return false;
  }
  for (const ValueId id : node.outputs) {
    if (!known(id)) return false;
  }
  return true;
}

}  // namespace

absl::Status Decompose(Graph& graph) {
  // What takes apart may be taken apart: a norm into a norm of another axis.
  constexpr int kRounds = 3;
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<Node> before = graph.nodes();
    Rewriter to(graph);
    bool changed = false;
    for (const Node& node : before) {
      to.Begin(node);
      const bool rewritten = ShapesKnown(graph, node) &&
                             (DecomposeNorm(to) || DecomposeForm(to) || DecomposeWindow(to) ||
                              DecomposeProduct(to) || DecomposeQuantiser(to));
      if (!rewritten) to.Keep(node);
      changed = changed || rewritten;
    }
    if (!changed) break;
    graph.mutable_nodes() = to.Take();
    DS_RETURN_IF_ERROR(InferShapes(graph));
  }
  return absl::OkStatus();
}

}  // namespace ds::engine::compile
