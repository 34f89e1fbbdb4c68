#include "graph/passes/channel_affine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

// The constant as it broadcasts against a value of `rank` axes, if it is the same along all of them
// but `axis`.
std::optional<std::vector<double>> PerChannel(const Graph& graph, ValueId id, int64_t channels,
                                              int rank, int axis) {
  const Tensor* tensor = FloatConstant(graph, id);
  if (tensor == nullptr || tensor->rank() > rank) return std::nullopt;
  for (int i = 0; i < tensor->rank(); ++i) {
    const bool is_channel = i + rank - tensor->rank() == axis;
    const int64_t extent = tensor->dim(i);
    if (extent != 1 && !(is_channel && extent == channels)) return std::nullopt;
  }
  const auto values = tensor->span<float>();
  std::vector<double> all(static_cast<size_t>(channels));
  for (size_t c = 0; c < all.size(); ++c) all[c] = values[values.size() == 1 ? 0 : c];
  return all;
}

// Output channels lie along the rows of its weight, not its columns.
bool ChannelsAreRows(const Node& node) {
  return node.op == "Conv" || node.GetInt("transB", 0) != 0;
}

void ScaleChannels(Graph& graph, Node& node, const std::vector<double>& scale, bool trainable) {
  Tensor weight = graph.Constant(node.inputs[1])->Clone();
  auto w = weight.mutable_span<float>();
  const bool rows = ChannelsAreRows(node);
  const size_t channels = scale.size(), each = channels == 0 ? 0 : w.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    for (size_t i = 0; i < each; ++i) {
      float& weighted = w[rows ? c * each + i : i * channels + c];
      weighted = static_cast<float>(weighted * scale[c]);
    }
  }
  node.inputs[1] =
      graph.AddInitializer(absl::StrCat(node.name, ".folded_weight"), std::move(weight), trainable);
}

}  // namespace

const Tensor* FloatConstant(const Graph& graph, ValueId id) {
  const Tensor* tensor = id == kNoValue ? nullptr : graph.Constant(id);
  return tensor != nullptr && tensor->dtype() == DType::kFloat32 ? tensor : nullptr;
}

bool HasConstantWeights(const Graph& graph, const Node& conv) {
  const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
  return FloatConstant(graph, conv.inputs[1]) != nullptr &&
         (!has_bias || FloatConstant(graph, conv.inputs[2]) != nullptr);
}

bool HasConstantStatistics(const Graph& graph, const Node& norm) {
  for (size_t i = 1; i <= 4; ++i) {
    if (FloatConstant(graph, norm.inputs[i]) == nullptr) return false;
  }
  return true;
}

ChannelAffine AffineOfNorm(const Graph& graph, const Node& norm) {
  const auto floats = [&graph](ValueId id) { return graph.Constant(id)->span<float>(); };
  const auto gamma = floats(norm.inputs[1]), beta = floats(norm.inputs[2]);
  const auto mean = floats(norm.inputs[3]), variance = floats(norm.inputs[4]);
  const double epsilon = norm.GetFloat("epsilon", 1e-5f);
  ChannelAffine affine;
  for (size_t channel = 0; channel < gamma.size(); ++channel) {
    affine.scale.push_back(gamma[channel] / std::sqrt(variance[channel] + epsilon));
    affine.before.push_back(-double{mean[channel]});
    affine.after.push_back(beta[channel]);
  }
  return affine;
}

std::optional<ChannelAffine> AffineOfConstant(const Graph& graph, const Node& node, ValueId x,
                                              int64_t channels, int rank, int axis) {
  const std::vector<double> ones(static_cast<size_t>(channels), 1.0);
  const std::vector<double> zeros(static_cast<size_t>(channels));
  const bool adds = node.op == "Add" || node.op == "Sub";
  if (!adds && node.op != "Mul" && node.op != "Div") return std::nullopt;
  const bool first = node.inputs[0] == x;
  if ((node.op == "Sub" || node.op == "Div") && !first) return std::nullopt;
  auto by = PerChannel(graph, node.inputs[first ? 1 : 0], channels, rank, axis);
  if (!by) return std::nullopt;
  for (double& value : *by) {
    if (node.op == "Sub") value = -value;
    if (node.op == "Div") value = 1.0 / value;
    if (!std::isfinite(value)) return std::nullopt;
  }
  if (adds) return ChannelAffine{ones, zeros, *std::move(by)};
  return ChannelAffine{*std::move(by), zeros, zeros};
}

void FoldAffine(Graph& graph, Node& node, const ChannelAffine& affine, ValueId result) {
  const size_t channels = affine.scale.size();
  const bool trainable = graph.initializers().at(node.inputs[1]).trainable;
  const Tensor* old = node.inputs.size() > 2 ? FloatConstant(graph, node.inputs[2]) : nullptr;
  Tensor bias(DType::kFloat32, {static_cast<int64_t>(channels)});
  auto b = bias.mutable_span<float>();
  for (size_t c = 0; c < channels; ++c) {
    const double offset = old == nullptr ? 0.0 : old->span<float>()[c];
    b[c] = static_cast<float>((offset + affine.before[c]) * affine.scale[c] + affine.after[c]);
  }
  const bool scales = std::any_of(affine.scale.begin(), affine.scale.end(),
                                  [](double scale) { return scale != 1.0; });
  if (scales) ScaleChannels(graph, node, affine.scale, trainable);
  node.inputs.resize(3, kNoValue);
  node.inputs[2] =
      graph.AddInitializer(absl::StrCat(node.name, ".folded_bias"), std::move(bias), trainable);
  node.outputs[0] = result;
}

}  // namespace ds
