#include "quant/torch/sensitivity.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "quant/quant_plan.h"
#include "quant/torch/bias_correction.h"
#include "quant/torch/lsq.h"

namespace ds {
namespace {

using Outputs = std::vector<std::vector<at::Tensor>>;  // of each batch

absl::StatusOr<Outputs> Run(GraphModule& module,
                            const std::vector<std::vector<at::Tensor>>& batches) {
  Outputs outputs;
  for (const std::vector<at::Tensor>& batch : batches) {
    DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> of_batch, module.Forward(batch));
    outputs.push_back(std::move(of_batch));
  }
  return outputs;
}

absl::StatusOr<Outputs> Run(Graph graph, const std::vector<std::vector<at::Tensor>>& batches) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module,
                      GraphModule::Create(std::move(graph)));
  return Run(*module, batches);
}

absl::Status CheckBatches(const std::vector<std::vector<at::Tensor>>& batches) {
  if (!batches.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("there are no samples to measure the layers' sensitivity on");
}

// One output over all batches: numerator and denominator of its error.
struct Ratio {
  double error = 0, by = 0;
};

void AddDivergence(const at::Tensor& exact, const at::Tensor& got, Ratio& ratio) {
  const at::Tensor expected = at::log_softmax(exact.to(at::kDouble), 1);
  const at::Tensor actual = at::log_softmax(got.to(at::kDouble), 1);
  ratio.error += (expected.exp() * (expected - actual)).sum().item<double>();
  ratio.by += static_cast<double>(exact.size(0));
}

void AddSquares(const at::Tensor& exact, const at::Tensor& got, Ratio& ratio) {
  ratio.error += (got - exact).to(at::kDouble).square().sum().item<double>();
  ratio.by += exact.to(at::kDouble).square().sum().item<double>();
}

double Error(const Outputs& exact, const Outputs& got) {
  double sum = 0;
  for (size_t o = 0; o < exact[0].size(); ++o) {
    Ratio ratio;
    for (size_t b = 0; b < exact.size(); ++b) {
      const at::Tensor& output = exact[b][o];
      if (!output.is_floating_point()) continue;
      const bool logits = output.dim() == 2 && output.size(1) > 1;
      (logits ? AddDivergence : AddSquares)(output, got[b][o], ratio);
    }
    // Rounding in the sums can leave a divergence of 0 a hair below it.
    if (ratio.by > 0) sum += std::max(0.0, ratio.error / ratio.by);
  }
  return sum;
}

// The graph with one weight rounded, and its bias corrected for that.
absl::StatusOr<Graph> WithRounded(const Graph& graph, const QuantSelection& selection,
                                  const Collector& collector, const WeightSite& site,
                                  const QuantParams& params, bool correct) {
  Graph rounded = graph;
  if (correct) {
    QuantPlan plan;
    plan.weights[graph.value(site.weight).name] = params;
    DS_RETURN_IF_ERROR(CorrectBiases(rounded, selection, plan, collector));
  }
  Tensor& weight = rounded.mutable_initializers().at(site.weight).data;
  Tensor values = weight.Clone();
  FakeQuantize(weight.span<float>(), weight.shape(), params, values.mutable_span<float>());
  weight = std::move(values);
  return rounded;
}

}  // namespace

absl::StatusOr<std::vector<LayerSensitivity>> MeasureSensitivity(
    const Graph& graph, const QuantSelection& selection, const Collector& collector,
    const std::vector<std::vector<at::Tensor>>& batches, const SensitivityOptions& options) {
  const at::NoGradGuard no_grad;
  DS_RETURN_IF_ERROR(CheckBatches(batches));
  DS_ASSIGN_OR_RETURN(const Outputs exact, Run(graph, batches));
  std::vector<LayerSensitivity> layers;
  for (const WeightSite& site : selection.weights) {
    const int64_t weights = graph.Constant(site.weight)->num_elements();
    LayerSensitivity layer = {
        .weight = graph.value(site.weight).name, .widths = {}, .elements = weights};
    for (const int bits : options.widths(site)) {
      DS_ASSIGN_OR_RETURN(const QuantParams params, options.round(site, bits));
      DS_ASSIGN_OR_RETURN(Graph rounded, WithRounded(graph, selection, collector, site, params,
                                                     options.bias_correction));
      DS_ASSIGN_OR_RETURN(const Outputs got, Run(std::move(rounded), batches));
      layer.widths.push_back(
          {bits,
           QuantizedBytes(weights, bits, static_cast<int64_t>(params.scales.size()),
                          options.storage),
           Error(exact, got)});
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

absl::StatusOr<std::vector<LayerSensitivity>> MeasureActivationSensitivity(
    const Graph& graph, const QuantSelection& selection, const Collector& collector,
    const std::vector<std::vector<at::Tensor>>& batches, const SensitivityOptions& options) {
  const at::NoGradGuard no_grad;
  DS_RETURN_IF_ERROR(CheckBatches(batches));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  DS_ASSIGN_OR_RETURN(const Outputs exact, Run(*module, batches));
  std::vector<LayerSensitivity> layers;
  for (const ActivationSite& site : selection.activations) {
    const int64_t elements = collector.ElementsOfASample(site.value);
    LayerSensitivity layer = {.weight = graph.value(site.value).name,
                              .widths = {},
                              .elements = elements,
                              .activation = true};
    for (const int bits : options.activation_widths(site)) {
      DS_ASSIGN_OR_RETURN(const QuantParams params, options.round_activation(site, bits));
      const at::Tensor step = at::full({1}, params.scales[0], at::TensorOptions(at::kFloat));
      const LsqOptions rounding = {.type = params.type, .zero_point = params.zero_points[0]};
      module->set_value_transform([&](ValueId value, const at::Tensor& tensor) {
        return value == site.value ? LsqFakeQuantize(tensor, step, rounding) : at::Tensor();
      });
      DS_ASSIGN_OR_RETURN(const Outputs got, Run(*module, batches));
      layer.widths.push_back(
          {bits, QuantizedBytes(elements, bits, 1, options.storage), Error(exact, got)});
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace ds
