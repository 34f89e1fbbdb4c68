#include <cmath>
#include <optional>
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

// One number for each channel of [N, C, ...], or one for all.
using Channels = std::vector<double>;

// The constant as it broadcasts against [N, channels, ...] of `rank`, if it is the same for every
// sample and place.
std::optional<Channels> PerChannel(const Graph& graph, ValueId id, int64_t channels, int rank) {
  const Tensor* tensor = FloatConstant(graph, id);
  if (tensor == nullptr || tensor->rank() > rank) return std::nullopt;
  for (int axis = 0; axis < tensor->rank(); ++axis) {
    const bool is_channel = axis + rank - tensor->rank() == 1;
    const int64_t extent = tensor->dim(axis);
    if (extent != 1 && !(is_channel && extent == channels)) return std::nullopt;
  }
  const auto values = tensor->span<float>();
  Channels all(static_cast<size_t>(channels));
  for (size_t c = 0; c < all.size(); ++c) all[c] = values[values.size() == 1 ? 0 : c];
  return all;
}

std::optional<ChannelAffine> AffineOf(const Graph& graph, const Node& node, ValueId x,
                                      int64_t channels, int rank) {
  const Channels ones(static_cast<size_t>(channels), 1.0), zeros(static_cast<size_t>(channels));
  const bool first = node.inputs[0] == x;
  const bool commutes = node.op == "Add" || node.op == "Mul";
  if (!commutes && !((node.op == "Sub" || node.op == "Div") && first)) return std::nullopt;
  auto by = PerChannel(graph, node.inputs[first ? 1 : 0], channels, rank);
  if (!by) return std::nullopt;
  for (double& value : *by) {
    if (node.op == "Sub") value = -value;
    if (node.op == "Div") value = 1.0 / value;
    if (!std::isfinite(value)) return std::nullopt;
  }
  if (node.op == "Add" || node.op == "Sub") return ChannelAffine{ones, zeros, *std::move(by)};
  return ChannelAffine{*std::move(by), zeros, zeros};
}

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
      const auto affine = AffineOf(graph, nodes[i], x, channels, static_cast<int>(shape->size()));
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
