#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

// One number for each channel of [N, C, ...], or one for all.
using Channels = std::vector<double>;

const Tensor* FloatConstant(const Graph& graph, ValueId id) {
  const Tensor* tensor = id == kNoValue ? nullptr : graph.Constant(id);
  return tensor != nullptr && tensor->dtype() == DType::kFloat32 ? tensor : nullptr;
}

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

// y = scale * x + shift, channel by channel.
struct Affine {
  Channels scale, shift;
};

std::optional<Affine> AffineOf(const Graph& graph, const Node& node, ValueId x, int64_t channels,
                               int rank) {
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
  if (node.op == "Add" || node.op == "Sub") return Affine{ones, *std::move(by)};
  return Affine{*std::move(by), zeros};
}

// Folds `affine` into a convolution with constant weight and bias: it writes `result` then.
void FoldInto(Graph& graph, Node& conv, const Affine& affine, ValueId result) {
  Tensor weight = FloatConstant(graph, conv.inputs[1])->Clone();
  const Tensor* old = conv.inputs.size() > 2 ? FloatConstant(graph, conv.inputs[2]) : nullptr;
  Tensor bias(DType::kFloat32, {weight.dim(0)});
  auto w = weight.mutable_span<float>();
  auto b = bias.mutable_span<float>();
  const size_t row = w.size() / b.size();
  for (size_t c = 0; c < b.size(); ++c) {
    for (size_t i = c * row; i < (c + 1) * row; ++i) {
      w[i] = static_cast<float>(w[i] * affine.scale[c]);
    }
    const double before = old == nullptr ? 0.0 : old->span<float>()[c];
    b[c] = static_cast<float>(before * affine.scale[c] + affine.shift[c]);
  }
  conv.inputs.resize(3, kNoValue);
  conv.inputs[1] =
      graph.AddInitializer(absl::StrCat(conv.name, ".folded_weight"), std::move(weight), true);
  conv.inputs[2] =
      graph.AddInitializer(absl::StrCat(conv.name, ".folded_bias"), std::move(bias), true);
  conv.outputs[0] = result;
}

bool HasConstants(const Graph& graph, const Node& conv) {
  const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
  return FloatConstant(graph, conv.inputs[1]) != nullptr &&
         (!has_bias || FloatConstant(graph, conv.inputs[2]) != nullptr);
}

// A batch norm of [N, C, H, W] as a convolution of 1x1 in which every channel is its own group.
void ToConvolution(Graph& graph, Node& norm, int64_t channels) {
  const auto floats = [&graph](ValueId id) { return FloatConstant(graph, id)->span<float>(); };
  const auto gamma = floats(norm.inputs[1]), beta = floats(norm.inputs[2]);
  const auto mean = floats(norm.inputs[3]), variance = floats(norm.inputs[4]);
  const double epsilon = norm.GetFloat("epsilon", 1e-5f);
  Tensor weight(DType::kFloat32, {channels, 1, 1, 1}), bias(DType::kFloat32, {channels});
  for (size_t c = 0; c < gamma.size(); ++c) {
    const double scale = gamma[c] / std::sqrt(variance[c] + epsilon);
    weight.mutable_span<float>()[c] = static_cast<float>(scale);
    bias.mutable_span<float>()[c] = static_cast<float>(beta[c] - mean[c] * scale);
  }
  norm.op = "Conv";
  norm.inputs = {
      norm.inputs[0],
      graph.AddInitializer(absl::StrCat(norm.name, ".as_weight"), std::move(weight), true),
      graph.AddInitializer(absl::StrCat(norm.name, ".as_bias"), std::move(bias), true)};
  norm.outputs.resize(1);
  norm.attributes = {{"group", channels}, {"kernel_shape", std::vector<int64_t>{1, 1}}};
}

bool IsLoneNorm(const Graph& graph, const Node& node) {
  if (node.op != "BatchNormalization" || node.GetInt("training_mode", 0) != 0) return false;
  const auto& shape = graph.value(node.inputs[0]).shape;
  if (!shape.has_value() || shape->size() != 4) return false;
  for (size_t i = 1; i < 5; ++i) {
    if (FloatConstant(graph, node.inputs[i]) == nullptr) return false;
  }
  return true;
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
      if (!HasConstants(graph, nodes[producer])) continue;
      const auto& shape = graph.value(x).shape;
      const int64_t channels = FloatConstant(graph, nodes[producer].inputs[1])->dim(0);
      if (!shape.has_value()) continue;
      const auto affine = AffineOf(graph, nodes[i], x, channels, static_cast<int>(shape->size()));
      if (!affine) continue;
      FoldInto(graph, nodes[producer], *affine, nodes[i].outputs[0]);
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
    ToConvolution(graph, node, graph.Constant(node.inputs[1])->num_elements());
  }
  return EliminateDeadNodes(graph);
}

}  // namespace ds
