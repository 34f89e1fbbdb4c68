#include "quant/torch/floating/output_noise.h"

#include <map>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "executor/graph_module.h"

namespace ds {
namespace {

void RoundActivations(const QuantPlan& plan, GraphModule& module) {
  std::map<ValueId, QuantParams> rounded;
  for (const auto& [name, params] : plan.activations) {
    rounded[module.graph().FindValue(name)] = params;
  }
  module.set_value_transform([rounded](ValueId value, const at::Tensor& tensor) {
    const auto found = rounded.find(value);
    if (found == rounded.end()) return at::Tensor();
    return Rounded(tensor, found->second);
  });
}

double Power(const at::Tensor& values) {
  return values.to(at::kDouble).square().sum().item<double>();
}

}  // namespace

void RoundWeights(const QuantPlan& plan, Graph& graph) {
  for (const auto& [name, params] : plan.weights) {
    Tensor& weight = graph.mutable_initializers().at(graph.FindValue(name)).data;
    Tensor rounded = weight.Clone();
    FakeQuantize(weight.span<float>(), weight.shape(), params, rounded.mutable_span<float>());
    weight = std::move(rounded);
  }
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
  Graph with_weights = graph;
  RoundWeights(plan, with_weights);
  GraphModuleOptions options;  // what is rounded must not be swallowed by a fused step
  for (const auto& [name, params] : plan.activations) {
    options.visible.insert(with_weights.FindValue(name));
  }
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module,
                      GraphModule::Create(std::move(with_weights), options));
  RoundActivations(plan, *module);
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
