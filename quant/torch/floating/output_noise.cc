#include "quant/torch/floating/output_noise.h"

#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"

namespace ds {
namespace {

void RoundWeights(const QuantPlan& plan, Graph& graph) {
  for (const auto& [name, params] : plan.weights) {
    Tensor& weight = graph.mutable_initializers().at(graph.FindValue(name)).data;
    Tensor rounded = weight.Clone();
    FakeQuantize(weight.span<float>(), weight.shape(), params, rounded.mutable_span<float>());
    weight = std::move(rounded);
  }
}

double Power(const at::Tensor& values) {
  return values.to(at::kDouble).square().sum().item<double>();
}

}  // namespace

absl::StatusOr<RoundedNetwork> WithRoundedWeights(Graph graph, const QuantPlan& plan,
                                                  std::set<ValueId> visible) {
  RoundWeights(plan, graph);
  RoundedNetwork rounded;
  // What is rounded must not be swallowed by a fused step.
  GraphModuleOptions options = {.visible = std::move(visible)};
  for (const auto& [name, params] : plan.activations) {
    const ValueId value = graph.FindValue(name);
    rounded.activations[value] = params;
    options.visible.insert(value);
  }
  DS_ASSIGN_OR_RETURN(rounded.module, GraphModule::Create(std::move(graph), options));
  return rounded;
}

at::Tensor Rounded(const at::Tensor& values, const QuantParams& params) {
  return at::fake_quantize_per_tensor_affine(values, params.scales[0], params.zero_points[0],
                                             params.type.min(), params.type.max());
}

absl::StatusOr<OutputNoise> OutputNoise::Create(const Graph& exact, InputBatches batches) {
  const at::NoGradGuard no_grad;
  OutputNoise noise;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(exact));
  for (const std::vector<at::Tensor>& batch : batches) {
    DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> outputs, module->Forward(batch));
    noise.wanted_.push_back(std::move(outputs));
  }
  noise.batches_ = std::move(batches);
  return noise;
}

absl::StatusOr<std::vector<double>> OutputNoise::Of(const Graph& graph,
                                                    const QuantPlan& plan) const {
  const at::NoGradGuard no_grad;
  DS_ASSIGN_OR_RETURN(const RoundedNetwork rounded, WithRoundedWeights(graph, plan));
  GraphModule* const module = rounded.module.get();
  module->set_value_transform([&rounded](ValueId value, const at::Tensor& tensor) {
    const auto found = rounded.activations.find(value);
    return found == rounded.activations.end() ? at::Tensor() : Rounded(tensor, found->second);
  });
  std::vector<double> noise(graph.outputs().size()), power(noise.size());
  for (size_t b = 0; b < batches_.size(); ++b) {
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> got, module->Forward(batches_[b]));
    for (size_t o = 0; o < noise.size(); ++o) {
      const at::Tensor& wanted = wanted_[b][o];
      if (!wanted.is_floating_point()) continue;
      const at::Tensor masked = wanted.eq(got[o]).logical_and(wanted.isinf());
      noise[o] += Power((got[o] - wanted).masked_fill(masked, 0));
      power[o] += Power(wanted.masked_fill(masked, 0));
    }
  }
  for (size_t o = 0; o < noise.size(); ++o) noise[o] = power[o] > 0 ? noise[o] / power[o] : 0;
  return noise;
}

absl::StatusOr<double> RoundedOutputError(const Graph& exact, const Graph& graph,
                                          const QuantPlan& plan, const InputBatches& batches) {
  DS_ASSIGN_OR_RETURN(const OutputNoise noise, OutputNoise::Create(exact, batches));
  DS_ASSIGN_OR_RETURN(const std::vector<double> errors, noise.Of(graph, plan));
  double sum = 0;
  for (const double error : errors) sum += error;
  return sum;
}

}  // namespace ds
