#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/channel_affine.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

// A batch norm of [N, C, H, W] as a convolution of 1x1 in which every channel is its own group.
void ToConvolution(Graph& graph, Node& norm) {
  const ChannelAffine affine = AffineOfNorm(graph, norm);
  const auto channels = static_cast<int64_t>(affine.scale.size());
  Tensor ones(DType::kFloat32, {channels, 1, 1, 1});
  for (float& weight : ones.mutable_span<float>()) weight = 1;
  const ValueId result = norm.outputs[0];
  norm.op = "Conv";
  norm.inputs = {norm.inputs[0],
                 graph.AddInitializer(absl::StrCat(norm.name, ".ones"), std::move(ones), true)};
  norm.outputs.resize(1);
  norm.attributes = {{"group", channels}, {"kernel_shape", std::vector<int64_t>{1, 1}}};
  FoldAffine(graph, norm, affine, result);
}

bool IsLoneNorm(const Graph& graph, const Node& node) {
  if (node.op != "BatchNormalization" || node.GetInt("training_mode", 0) != 0) return false;
  const auto& shape = graph.value(node.inputs[0]).shape;
  return shape.has_value() && shape->size() == 4 && HasConstantStatistics(graph, node);
}

}  // namespace

absl::Status FoldChannelAffine(Graph& graph) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  const Uses uses(graph);
  std::vector<Node>& nodes = graph.mutable_nodes();
  std::vector<bool> removed(nodes.size(), false);
  absl::flat_hash_map<ValueId, int> convs;  // by the value that each writes
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].op == "Conv") convs[nodes[i].outputs[0]] = static_cast<int>(i);
    if (nodes[i].op != "Add" && nodes[i].op != "Mul" && nodes[i].op != "Sub" &&
        nodes[i].op != "Div") {
      continue;
    }
    for (const ValueId x : nodes[i].inputs) {
      const auto found = convs.find(x);
      if (found == convs.end() || uses.Count(x) != 1) continue;
      const int producer = found->second;
      if (!HasConstantWeights(graph, nodes[producer])) continue;
      const auto& shape = graph.value(x).shape;
      const int64_t channels = FloatConstant(graph, nodes[producer].inputs[1])->dim(0);
      if (!shape.has_value()) continue;
      const auto affine = AffineOfConstant(graph, nodes[i], x, channels,
                                           static_cast<int>(shape->size()), /*axis=*/1);
      if (!affine) continue;
      FoldAffine(graph, nodes[producer], *affine, nodes[i].outputs[0]);
      convs[nodes[i].outputs[0]] = producer;  // so that chains fold
      removed[i] = true;
      break;
    }
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!removed[i]) kept.push_back(std::move(nodes[i]));
  }
  nodes = std::move(kept);
  return EliminateDeadNodes(graph);
}

absl::Status NormsToConvolutions(Graph& graph) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  for (Node& node : graph.mutable_nodes()) {
    if (!IsLoneNorm(graph, node)) continue;
    ToConvolution(graph, node);
  }
  return EliminateDeadNodes(graph);
}

}  // namespace ds
