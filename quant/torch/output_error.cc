#include "quant/torch/output_error.h"

#include <map>
#include <memory>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "quant/affine.h"

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

void RoundActivations(const QuantPlan& plan, GraphModule& module) {
  std::map<ValueId, QuantParams> rounded;
  for (const auto& [name, params] : plan.activations) {
    rounded[module.graph().FindValue(name)] = params;
  }
  module.set_value_transform([rounded](ValueId value, const at::Tensor& tensor) {
    const auto found = rounded.find(value);
    if (found == rounded.end()) return at::Tensor();
    const QuantParams& params = found->second;
    return at::fake_quantize_per_tensor_affine(tensor, params.scales[0], params.zero_points[0],
                                               params.type.min(), params.type.max());
  });
}

}  // namespace

absl::StatusOr<double> RoundedOutputError(const Graph& exact, const Graph& graph,
                                          const QuantPlan& plan,
                                          const std::vector<std::vector<at::Tensor>>& batches) {
  const at::NoGradGuard no_grad;
  Graph with_weights = graph;
  RoundWeights(plan, with_weights);
  GraphModuleOptions options;  // what is rounded must not be swallowed by a fused step
  for (const auto& [name, params] : plan.activations) {
    options.visible.insert(with_weights.FindValue(name));
  }
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> before, GraphModule::Create(exact));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> after,
                      GraphModule::Create(std::move(with_weights), options));
  RoundActivations(plan, *after);
  std::vector<double> noise(exact.outputs().size()), power(exact.outputs().size());
  for (const std::vector<at::Tensor>& batch : batches) {
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> wanted, before->Forward(batch));
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> got, after->Forward(batch));
    for (size_t o = 0; o < wanted.size(); ++o) {
      if (!wanted[o].is_floating_point()) continue;
      noise[o] += (got[o] - wanted[o]).to(at::kDouble).square().sum().item<double>();
      power[o] += wanted[o].to(at::kDouble).square().sum().item<double>();
    }
  }
  double error = 0;
  for (size_t o = 0; o < noise.size(); ++o) {
    if (power[o] > 0) error += noise[o] / power[o];
  }
  return error;
}

}  // namespace ds
