#include "deploy/qdq/weights.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/repair/bias_range.h"

namespace ds::qdq {
namespace {

// What a bias is to its node, where it can be an integer: sums of products of codes have one scale
// a channel only if the input has one scale and the weight no others than its channels'.
std::optional<BiasUse> BiasOf(const Graph& graph, const Node& node, const Placement& placement,
                              const std::map<ValueId, QuantParams>& weights) {
  if (node.op != "Conv" && node.op != "Gemm") return std::nullopt;
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return std::nullopt;
  const Tensor* bias = graph.Constant(node.inputs[2]);
  const auto weight = weights.find(node.inputs[1]);
  if (bias == nullptr || bias->dtype() != DType::kFloat32) return std::nullopt;
  if (weight == weights.end() || !placement.Quantised(node.inputs[0])) return std::nullopt;
  if (node.GetFloat("alpha", 1.0f) != 1.0f || node.GetFloat("beta", 1.0f) != 1.0f) {
    return std::nullopt;
  }
  const Tensor& data = *graph.Constant(node.inputs[1]);
  const int channels = OutputAxis(node, 1, data.rank());
  const QuantParams& params = weight->second;
  const bool fits =
      params.group == 0 && (params.axis == QuantParams::kWholeTensor || params.axis == channels);
  // [channels] or [1, channels]: one number a channel, whatever the batch.
  const bool one_each = bias->rank() >= 1 && bias->dim(-1) == data.dim(channels) &&
                        bias->num_elements() == bias->dim(-1);
  if (!fits || !one_each) return std::nullopt;
  return BiasUse{.bias = node.inputs[2], .input = node.inputs[0], .weight = node.inputs[1]};
}

// A channel of zeros has no scale of its own, so it takes one that is fine enough for its bias:
// with the 1 that calibration gave it, the bias would be rounded to whole steps of the input.
void FitDeadChannels(const Tensor& weight, int channel_axis, absl::Span<const float> bias,
                     float input_scale, std::vector<float>& scales) {
  constexpr double kBiasCode = 16384.0;  // 2^14: a code that fits int16, which keeps files small
  const auto values = weight.span<float>();
  std::vector<bool> dead(scales.size(), true);
  int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < weight.rank(); ++axis) inner *= weight.dim(axis);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto channel = static_cast<size_t>(static_cast<int64_t>(i) / inner) %
                         static_cast<size_t>(weight.dim(channel_axis));
    if (values[i] != 0) dead[scales.size() == 1 ? 0 : channel] = false;
  }
  for (size_t channel = 0; channel < scales.size(); ++channel) {
    if (!dead[channel]) continue;
    double largest = std::abs(static_cast<double>(bias[channel]));
    if (scales.size() == 1) {
      for (const float b : bias) largest = std::max(largest, std::abs(static_cast<double>(b)));
    }
    const double scale = largest / kBiasCode / input_scale;
    const bool normal = scale >= std::numeric_limits<float>::min() && scale < scales[channel];
    if (normal) scales[channel] = static_cast<float>(scale);
  }
}

}  // namespace

int OutputAxis(const Node& node, int slot, int rank) {
  if (node.op == "Conv") return 0;
  if (node.op == "Gemm") return node.GetInt("transB", 0) != 0 ? 0 : 1;
  return slot == 1 ? rank - 1 : -1;
}

absl::StatusOr<WeightPlan> PlanWeights(const Graph& graph, const QuantPlan& plan,
                                       const Placement& placement) {
  WeightPlan result;
  for (const auto& [name, params] : plan.weights) result.weights[graph.FindValue(name)] = params;
  std::vector<ValueId> enlarged;
  std::map<ValueId, int> users;
  for (const Node& node : graph.nodes()) {
    for (const int slot : WeightSlots(node)) ++users[node.inputs[slot]];
  }
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (plan.left_in_float.contains(node.name)) continue;
    const auto use = BiasOf(graph, node, placement, result.weights);
    if (!use) continue;
    const auto bias = graph.Constant(use->bias)->span<float>();
    if (!std::all_of(bias.begin(), bias.end(), [](float b) { return std::isfinite(b); })) {
      return absl::InvalidArgumentError(absl::StrCat("node '", node.name, "' (", node.op,
                                                     "): its bias '", graph.value(use->bias).name,
                                                     "' holds NaN or Inf; train it again"));
    }
    const QuantParams& input = *placement.values[use->input];
    const float input_scale = input.scales[0];
    const Tensor& weight = *graph.Constant(use->weight);
    const LayerSums layer = {.weights = weight.span<float>(),
                             .shape = weight.shape(),
                             .channel_axis = OutputAxis(node, 1, weight.rank()),
                             .bias = bias,
                             .input_scale = input_scale,
                             .most_input = MostInput(input)};
    QuantParams& params = result.weights.at(use->weight);
    if (users[use->weight] == 1) {
      FitDeadChannels(weight, layer.channel_axis, bias, input_scale, params.scales);
    }
    if (!RaiseScalesForInt32(layer, params).empty()) enlarged.push_back(use->weight);
    const std::vector<float>& scales = params.scales;
    if (!std::all_of(scales.begin(), scales.end(), [](float s) { return std::isfinite(s); })) {
      return absl::InvalidArgumentError(absl::StrCat(
          "node '", node.name, "' (", node.op, "): its bias '", graph.value(use->bias).name,
          "' is too large for the input scale ", input_scale, "; calibrate with other data"));
    }
    result.biases[static_cast<int>(i)] = *use;
  }
  std::sort(enlarged.begin(), enlarged.end());
  enlarged.erase(std::unique(enlarged.begin(), enlarged.end()), enlarged.end());
  for (const ValueId id : enlarged) result.enlarged.push_back(graph.value(id).name);
  return result;
}

std::vector<int32_t> BiasCodes(absl::Span<const float> bias, float input_scale,
                               absl::Span<const float> weight_scales) {
  std::vector<int32_t> codes(bias.size());
  for (size_t i = 0; i < bias.size(); ++i) {
    const float scale = weight_scales[weight_scales.size() == 1 ? 0 : i] * input_scale;
    const double code = std::nearbyint(static_cast<double>(bias[i]) / scale);
    codes[i] = static_cast<int32_t>(std::clamp(code, -kMostBiasCode, kMostBiasCode));
  }
  return codes;
}

}  // namespace ds::qdq
