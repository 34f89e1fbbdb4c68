#include <utility>
#include <vector>

#include "graph/passes/channel_affine.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"

namespace ds {

absl::Status FoldBatchNorms(Graph& graph) {
  const Uses uses(graph);
  std::vector<Node>& nodes = graph.mutable_nodes();
  std::vector<bool> removed(nodes.size(), false);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].op != "BatchNormalization") continue;
    const int producer = uses.ProducerIndex(nodes[i].inputs[0]);
    if (producer < 0 || nodes[producer].op != "Conv" || removed[producer]) continue;
    // A convolution that writes another value by now has been folded with another norm.
    if (nodes[producer].outputs[0] != nodes[i].inputs[0]) continue;
    if (uses.Count(nodes[i].inputs[0]) != 1) continue;
    if (!HasConstantStatistics(graph, nodes[i])) continue;
    if (!HasConstantWeights(graph, nodes[producer])) continue;
    FoldAffine(graph, nodes[producer], AffineOfNorm(graph, nodes[i]), nodes[i].outputs[0]);
    removed[i] = true;
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!removed[i]) kept.push_back(std::move(nodes[i]));
  }
  nodes = std::move(kept);
  return EliminateDeadNodes(graph);
}

}  // namespace ds
