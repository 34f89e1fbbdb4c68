#include "graph/passes/channel_affine.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ds {

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

void FoldAffine(Graph& graph, Node& conv, const ChannelAffine& affine, ValueId result) {
  const size_t channels = affine.scale.size();
  const Tensor* old = conv.inputs.size() > 2 ? FloatConstant(graph, conv.inputs[2]) : nullptr;
  Tensor weight = graph.Constant(conv.inputs[1])->Clone();
  Tensor bias(DType::kFloat32, {static_cast<int64_t>(channels)});
  auto w = weight.mutable_span<float>();
  auto b = bias.mutable_span<float>();
  const size_t row = channels == 0 ? 0 : w.size() / channels;
  for (size_t c = 0; c < channels; ++c) {
    for (size_t i = c * row; i < (c + 1) * row; ++i) {
      w[i] = static_cast<float>(w[i] * affine.scale[c]);
    }
    const double offset = old == nullptr ? 0.0 : old->span<float>()[c];
    b[c] = static_cast<float>((offset + affine.before[c]) * affine.scale[c] + affine.after[c]);
  }
  const bool trainable = graph.initializers().at(conv.inputs[1]).trainable;
  conv.inputs.resize(3, kNoValue);
  conv.inputs[1] =
      graph.AddInitializer(absl::StrCat(conv.name, ".folded_weight"), std::move(weight), trainable);
  conv.inputs[2] =
      graph.AddInitializer(absl::StrCat(conv.name, ".folded_bias"), std::move(bias), trainable);
  conv.outputs[0] = result;
}

}  // namespace ds
