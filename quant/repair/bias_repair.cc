#include "quant/repair/bias_repair.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/repair/bias_range.h"

namespace ds {
namespace {

constexpr size_t kChannelsNamed = 8;

// The node's sums, if integers can hold them: a bias of one number a channel, or none.
std::optional<LayerSums> SumsOf(const Graph& graph, const Node& node, const QuantParams& input) {
  const Tensor& weight = *graph.Constant(node.inputs[1]);
  LayerSums layer = {.weights = weight.span<float>(),
                     .shape = weight.shape(),
                     .channel_axis = WeightChannelAxis(node, weight.rank()),
                     .input_scale = input.scales[0],
                     .most_input = MostInput(input)};
  const bool scaled = node.op == "Gemm" &&
                      (node.GetFloat("alpha", 1.0f) != 1.0f || node.GetFloat("beta", 1.0f) != 1.0f);
  if (scaled) return std::nullopt;
  if (node.op == "MatMul" || node.inputs.size() < 3 || node.inputs[2] == kNoValue) return layer;
  const Tensor* bias = graph.Constant(node.inputs[2]);
  const int64_t channels = weight.dim(layer.channel_axis);
  if (bias == nullptr || bias->dtype() != DType::kFloat32 || bias->num_elements() != channels)
    return std::nullopt;
  layer.bias = bias->span<float>();
  return layer;
}

absl::Status Refuse(const Graph& graph, const Node& node, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("node '", node.name, "' (", node.op,
                                                 "): its bias '", graph.value(node.inputs[2]).name,
                                                 "' ", why));
}

}  // namespace

absl::StatusOr<std::vector<RaisedScales>> FitBiases(const Graph& graph,
                                                    const QuantSelection& selection,
                                                    QuantPlan& plan) {
  std::vector<RaisedScales> all;
  for (const int n : selection.multipliers) {
    const Node& node = graph.nodes()[static_cast<size_t>(n)];
    const std::string& name = graph.value(node.inputs[1]).name;
    const auto weight = plan.weights.find(name);
    const auto input = plan.activations.find(graph.value(node.inputs[0]).name);
    if (weight == plan.weights.end() || input == plan.activations.end()) continue;
    const std::optional<LayerSums> layer = SumsOf(graph, node, input->second);
    if (!layer.has_value()) continue;
    if (!std::all_of(layer->bias.begin(), layer->bias.end(),
                     [](float b) { return std::isfinite(b); }))
      return Refuse(graph, node, "holds NaN or Inf; train it again");
    std::vector<int64_t> channels = RaiseScalesForInt32(*layer, weight->second);
    if (channels.empty()) continue;
    const std::vector<float>& scales = weight->second.scales;
    if (!std::all_of(scales.begin(), scales.end(), [](float s) { return std::isfinite(s); }))
      return Refuse(graph, node, "is too large for its input's scale; calibrate with other data");
    all.push_back({node.name, name, std::move(channels)});
  }
  return all;
}

std::string Describe(const RaisedScales& raised) {
  std::string channels;
  const size_t named = std::min(kChannelsNamed, raised.channels.size());
  for (size_t i = 0; i < named; ++i)
    absl::StrAppend(&channels, i > 0 ? ", " : "", raised.channels[i]);
  if (named < raised.channels.size())
    absl::StrAppend(&channels, " and ", raised.channels.size() - named, " more");
  return absl::StrCat("node \"", raised.node,
                      "\": its sums would overflow 32 bits; the scale of weight \"", raised.weight,
                      "\" was raised in channel", raised.channels.size() > 1 ? "s " : " ", channels,
                      " (weights there are tiny beside the bias: a dead channel?)");
}

}  // namespace ds
