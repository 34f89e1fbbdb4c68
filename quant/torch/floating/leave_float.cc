#include "quant/torch/floating/leave_float.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "quant/floating/float_values.h"
#include "quant/floating/slow_layers.h"
#include "quant/torch/bias_correction.h"

namespace ds {
namespace {

// Elements of all samples together that the search runs on.
constexpr int64_t kSearchedElements = 1 << 20;
// Between calibration and other data.
constexpr double kReserve_dB = 2;

double Decibels(const std::vector<double>& errors) {
  return -10 * std::log10(std::max(1e-12, *std::ranges::max_element(errors)));
}

// "'conv1', 'conv2' and 3 more".
std::string SomeNames(const std::vector<std::string>& names) {
  constexpr size_t kNamed = 8;
  std::string some;
  for (size_t i = 0; i < std::min(kNamed, names.size()); ++i)
    absl::StrAppend(&some, i > 0 ? ", '" : "'", names[i], "'");
  if (names.size() > kNamed) absl::StrAppend(&some, " and ", names.size() - kNamed, " more");
  return some;
}

// "2 values stay float ... 'a', 'b'".
std::string DescribeFloatValues(const Graph& graph, const FloatValues& found, double wanted) {
  std::vector<std::string> names;
  for (const ValueId id : found.values) names.push_back(graph.value(id).name);
  return absl::StrFormat(
      "%d value%s stay%s float, since rounding them too leaves an output %.1f dB from the float "
      "model, and %g are wanted (--least-snr); now %.1f dB: %s",
      found.values.size(), found.values.size() == 1 ? "" : "s", found.values.size() == 1 ? "s" : "",
      Decibels(found.error_before), wanted, Decibels(found.error_after), SomeNames(names));
}

int64_t SamplesOf(const std::vector<at::Tensor>& batch) {
  return batch.empty() || batch[0].dim() == 0 ? 1 : batch[0].size(0);
}

// Few where samples are large.
InputBatches FirstSamples(const InputBatches& batches) {
  int64_t elements = 1;
  for (const at::Tensor& input : batches[0]) elements += input.numel() / SamplesOf(batches[0]);
  int64_t left = std::clamp<int64_t>(kSearchedElements / elements, 4, 16);
  InputBatches first;
  for (const std::vector<at::Tensor>& batch : batches) {
    if (left <= 0) break;
    const int64_t size = SamplesOf(batch), taken = std::min(left, size);
    std::vector<at::Tensor>& part = first.emplace_back();
    for (const at::Tensor& input : batch) {
      const bool batched = input.dim() > 0 && input.size(0) == size;
      part.push_back(batched ? input.narrow(0, 0, taken) : input);
    }
    left -= taken;
  }
  return first;
}

void DropReports(QuantizedModel& model) {
  const auto& left = model.plan.activations;
  std::erase_if(model.activations,
                [&left](const ActivationReport& report) { return !left.contains(report.value); });
  std::erase_if(model.histograms,
                [&left](const auto& entry) { return !left.contains(entry.first); });
}

// With the shapes that one sample of `batch` gives; false where they cannot be told.
bool SetShapesOfASample(const std::vector<at::Tensor>& batch, Graph& graph) {
  const int64_t samples = SamplesOf(batch);
  for (size_t i = 0; i < batch.size(); ++i) {
    Shape shape(batch[i].sizes().begin(), batch[i].sizes().end());
    if (!shape.empty() && shape[0] == samples) shape[0] = 1;
    graph.mutable_value(graph.inputs()[i]).shape = std::move(shape);
  }
  return InferShapes(graph).ok();
}

}  // namespace

void LeaveSlowLayersFloat(const Graph& graph, const InputBatches& batches,
                          const QuantSelection& selection, QuantizedModel& model) {
  Graph sized = graph;
  if (batches.empty() || !SetShapesOfASample(batches[0], sized)) return;
  SlowLayers slow = TakeOutSlowLayers(sized, selection, model.plan);
  model.plan = std::move(slow.plan);
  DropReports(model);
  if (slow.nodes.empty()) return;
  std::vector<std::string> names;
  for (const int n : slow.nodes) names.push_back(graph.nodes()[static_cast<size_t>(n)].name);
  model.warnings.push_back(
      absl::StrFormat("%d layer%s stay%s float, since with integers rounding and scaling would "
                      "cost about %.0f us a sample more than the products save "
                      "(--no-slow-layers-float): %s",
                      names.size(), names.size() == 1 ? "" : "s", names.size() == 1 ? "s" : "",
                      slow.saved_us, SomeNames(names)));
}

absl::Status LeaveFloat(const QuantSelection& selection, const Collector& collector,
                        const InputBatches& batches, const QuantizerOptions& options,
                        QuantizedModel& model) {
  const InputBatches samples = FirstSamples(batches);
  DS_ASSIGN_OR_RETURN(const OutputNoise noise, OutputNoise::Create(model.graph, samples));
  const auto measure = [&](const QuantPlan& plan) -> absl::StatusOr<std::vector<double>> {
    Graph graph = model.graph;
    if (options.bias_correction)
      DS_RETURN_IF_ERROR(CorrectBiases(graph, selection, plan, collector));
    return noise.Of(graph, plan);
  };
  const FloatValuesOptions search = {.most_error =
                                         std::pow(10, -(options.least_snr_db + kReserve_dB) / 10)};
  if (options.bias_correction) {  // which may do; whom to blame shows better without
    DS_ASSIGN_OR_RETURN(const MeasuredBiases biases,
                        MeasuredBiases::Create(model.graph, selection, samples));
    Graph graph = model.graph;
    DS_RETURN_IF_ERROR(CorrectBiases(graph, selection, model.plan, collector));
    DS_RETURN_IF_ERROR(biases.Correct(model.plan, graph));
    DS_ASSIGN_OR_RETURN(const std::vector<double> errors, noise.Of(graph, model.plan));
    if (*std::ranges::max_element(errors) <= search.most_error) return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(FloatValues found,
                      FindFloatValues(model.graph, selection, model.plan, measure, search));
  if (found.values.empty()) {
    if (Decibels(found.error_before) < options.least_snr_db)
      model.warnings.push_back(absl::StrFormat(
          "rounding leaves an output %.1f dB from the float model, and %g are wanted "
          "(--least-snr), but no few values are to blame: all stay integers",
          Decibels(found.error_before), options.least_snr_db));
    return absl::OkStatus();
  }
  model.warnings.push_back(DescribeFloatValues(model.graph, found, options.least_snr_db));
  model.plan = std::move(found.plan);
  DropReports(model);
  return absl::OkStatus();
}

}  // namespace ds
