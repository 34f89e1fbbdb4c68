#include "quant/torch/rounding_repair.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "base/status.h"
#include "quant/affine.h"
#include "quant/floating/plan_cutter.h"
#include "quant/gaussian_bound.h"
#include "quant/repair/bias_repair.h"
#include "quant/torch/bias_correction.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/reconstruction/adaround.h"
#include "quant/torch/reconstruction/gptq.h"

namespace ds {
namespace {

double SignalToNoise(absl::Span<const float> values, absl::Span<const float> rounded) {
  double power = 0, noise = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - static_cast<double>(rounded[i]);
    power += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    noise += difference * difference;
  }
  constexpr double kNothingLost = 200;  // dB
  return noise > 0 && power > 0 ? std::min(kNothingLost, 10 * std::log10(power / noise))
                                : kNothingLost;
}

// One tensor for each input of the model.
std::vector<at::Tensor> FirstSamples(const InputBatches& batches, int64_t most) {
  std::vector<at::Tensor> inputs;
  for (size_t i = 0; !batches.empty() && i < batches[0].size(); ++i) {
    std::vector<at::Tensor> parts;
    for (const std::vector<at::Tensor>& batch : batches) parts.push_back(batch[i]);
    const at::Tensor all = at::cat(parts);
    inputs.push_back(all.narrow(0, 0, std::min(all.size(0), most)));
  }
  return inputs;
}

// Of `candidate` than of `graph`, summed over the outputs.
absl::StatusOr<bool> IsNearer(const OutputNoise& noise, const QuantPlan& plan,
                              const Graph& candidate, const Graph& graph) {
  DS_ASSIGN_OR_RETURN(const std::vector<double> before, noise.Of(graph, plan));
  DS_ASSIGN_OR_RETURN(const std::vector<double> after, noise.Of(candidate, plan));
  const auto sum = [](const std::vector<double>& errors) {
    return std::accumulate(errors.begin(), errors.end(), 0.0);
  };
  return sum(after) < sum(before);
}

}  // namespace

bool CorrectsBiases(const QuantizerOptions& options) {
  return options.bias_correction && !options.for_training && !options.weights_only;
}

absl::Status RoundingRepair::Run(bool may_choose, QuantizedModel& model) const {
  const QuantSelection selection = SelectionIn(exact_, selection_, model.plan);
  if (options_.weights_only) {
    ReportLayers(selection, model);
    return absl::OkStatus();
  }
  DS_RETURN_IF_ERROR(MakeRoomForBiases(model));
  const std::string method = may_choose ? Method(model.plan) : "none";
  // Of the float network's outputs, which what follows is compared with.
  std::optional<OutputNoise> noise;
  if (!data_.samples.empty() && (method == "gptq" || CorrectsBiases(options_))) {
    DS_ASSIGN_OR_RETURN(noise, OutputNoise::Create(exact_, data_.samples));
  }
  if (method == "adaround" || method == "qdrop") {
    DS_RETURN_IF_ERROR(Learn(selection, method, model));
  } else if (method == "gptq") {
    DS_RETURN_IF_ERROR(TryGptq(selection, noise, model));
  } else {
    DS_RETURN_IF_ERROR(Correct(selection, model.plan, model.graph));
  }
  DS_RETURN_IF_ERROR(CorrectByMeasure(selection, noise, model));
  DS_RETURN_IF_ERROR(MakeRoomForBiases(model));  // biases have moved
  ReportLayers(selection, model);
  return absl::OkStatus();
}

// The reconstruction that the widths call for.
std::string RoundingRepair::Method(const QuantPlan& plan) const {
  if (options_.reconstruction.method != "auto") return options_.reconstruction.method;
  const auto few = [](const std::map<std::string, QuantParams>& all) {
    return std::any_of(all.begin(), all.end(),
                       [](const auto& named) { return named.second.type.bits <= kFewBits; });
  };
  return few(plan.weights) || few(plan.activations) ? "adaround" : "gptq";
}

absl::Status RoundingRepair::Correct(const QuantSelection& selection, const QuantPlan& plan,
                                     Graph& graph) const {
  if (!options_.bias_correction) return absl::OkStatus();
  return CorrectBiases(exact_, graph, selection, plan, data_.collector);
}

absl::Status RoundingRepair::Learn(const QuantSelection& selection, const std::string& method,
                                   QuantizedModel& model) const {
  ReconstructionOptions reconstruction = options_.reconstruction;
  reconstruction.method = method;
  reconstruction.learn_bias = reconstruction.learn_bias && options_.bias_correction;
  Graph corrected = model.graph;
  DS_RETURN_IF_ERROR(Correct(selection, model.plan, corrected));
  DS_ASSIGN_OR_RETURN(model.units,
                      ReconstructRounding(model.graph, selection, model.plan,
                                          FirstSamples(data_.samples, reconstruction.samples),
                                          reconstruction, &corrected));
  return absl::OkStatus();
}

// Where the outputs gain by it.
absl::Status RoundingRepair::TryGptq(const QuantSelection& selection,
                                     const std::optional<OutputNoise>& noise,
                                     QuantizedModel& model) const {
  Graph chosen = model.graph;
  DS_RETURN_IF_ERROR(Correct(selection, model.plan, model.graph));
  if (!noise.has_value()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(std::vector<UnitReconstruction> layers,
                      RoundByGptq(chosen, selection, model.plan, data_.samples));
  DS_RETURN_IF_ERROR(Correct(selection, model.plan, chosen));
  DS_ASSIGN_OR_RETURN(const bool gains, IsNearer(*noise, model.plan, chosen, model.graph));
  if (!gains) return absl::OkStatus();
  model.graph = std::move(chosen);
  model.units = std::move(layers);
  return absl::OkStatus();
}

// Where the outputs gain by it.
absl::Status RoundingRepair::CorrectByMeasure(const QuantSelection& selection,
                                              const std::optional<OutputNoise>& noise,
                                              QuantizedModel& model) const {
  if (!CorrectsBiases(options_) || !noise.has_value()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const MeasuredBiases biases,
                      MeasuredBiases::Create(exact_, selection, data_.samples));
  Graph corrected = model.graph;
  DS_RETURN_IF_ERROR(biases.Correct(model.plan, corrected));
  DS_ASSIGN_OR_RETURN(const bool gains, IsNearer(*noise, model.plan, corrected, model.graph));
  if (gains) model.graph = std::move(corrected);
  return absl::OkStatus();
}

absl::Status RoundingRepair::MakeRoomForBiases(QuantizedModel& model) const {
  DS_ASSIGN_OR_RETURN(const std::vector<RaisedScales> raised,
                      FitBiases(model.graph, selection_, model.plan));
  for (const RaisedScales& layer : raised) {
    const std::string warning = Describe(layer);
    const bool is_new =
        std::find(model.warnings.begin(), model.warnings.end(), warning) == model.warnings.end();
    if (is_new) model.warnings.push_back(warning);
  }
  return absl::OkStatus();
}

// Of the weights as they have become, their rounding error against those that came.
void RoundingRepair::ReportLayers(const QuantSelection& selection, QuantizedModel& model) const {
  for (const WeightSite& site : selection.weights) {
    const Node& node = exact_.nodes()[static_cast<size_t>(site.node)];
    const std::string& name = exact_.value(site.weight).name;
    const QuantParams& params = model.plan.weights.at(name);
    const Tensor& weight = *model.graph.Constant(site.weight);
    std::vector<float> rounded(static_cast<size_t>(weight.num_elements()));
    FakeQuantize(weight.span<float>(), weight.shape(), params, absl::MakeSpan(rounded));
    const auto [least, greatest] = std::minmax_element(params.scales.begin(), params.scales.end());
    const int bits = params.type.bits;
    model.layers.push_back(
        {node.name, node.op, name, bits, weight.num_elements(),
         SignalToNoise(exact_.Constant(site.weight)->span<float>(), rounded),
         GaussianSignalToNoise(bits),
         QuantizedBytes(weight.num_elements(), bits, static_cast<int64_t>(params.scales.size()),
                        CodeStorage::kFile),
         *least, *greatest});
  }
}

}  // namespace ds
