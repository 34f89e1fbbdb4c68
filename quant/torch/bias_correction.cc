#include "quant/torch/bias_correction.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "quant/affine.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/joined_batch.h"

namespace ds {
namespace {

// The layer's weights seen as [outputs, inputs of one output, taps].
struct WeightView {
  int64_t outputs = 0, inputs = 0, taps = 1;
  int64_t groups = 1;
  bool transposed = false;  // stored [inputs, outputs]

  size_t Index(int64_t o, int64_t i, int64_t t) const {
    return static_cast<size_t>(transposed ? i * outputs + o : (o * inputs + i) * taps + t);
  }
};

WeightView ViewOf(const Node& node, const Shape& shape) {
  WeightView view;
  if (node.op == "Conv") {
    view.outputs = shape[0];
    view.inputs = shape[1];
    for (size_t i = 2; i < shape.size(); ++i) view.taps *= shape[i];
    view.groups = node.GetInt("group", 1);
  } else {
    view.transposed = node.GetInt("transB", 0) == 0;
    view.outputs = shape[view.transposed ? 1 : 0];
    view.inputs = shape[view.transposed ? 0 : 1];
  }
  return view;
}

// By how much the rounded weights shift each output, on average.
std::vector<double> Shifts(const Tensor& exact_weight, const Tensor& weight,
                           const QuantParams& params, const WeightView& view,
                           const std::vector<double>& means) {
  const absl::Span<const float> exact = exact_weight.span<float>();
  std::vector<float> rounded(exact.size());
  FakeQuantize(weight.span<float>(), weight.shape(), params, absl::MakeSpan(rounded));
  std::vector<double> shifts(static_cast<size_t>(view.outputs), 0.0);
  const int64_t outputs_a_group = view.outputs / view.groups;
  for (int64_t o = 0; o < view.outputs; ++o) {
    for (int64_t i = 0; i < view.inputs; ++i) {
      double change = 0;
      for (int64_t t = 0; t < view.taps; ++t) {
        const size_t at = view.Index(o, i, t);
        change += static_cast<double>(rounded[at]) - static_cast<double>(exact[at]);
      }
      const int64_t channel = o / outputs_a_group * view.inputs + i;
      shifts[static_cast<size_t>(o)] += change * means[static_cast<size_t>(channel)];
    }
  }
  return shifts;
}

bool MayCorrect(const Graph& graph, const Node& node) {
  if (node.op == "Conv") return true;
  const bool plain = node.GetFloat("alpha", 1.0f) == 1.0f && node.GetFloat("beta", 1.0f) == 1.0f &&
                     node.GetInt("transA", 0) == 0;
  return node.op == "Gemm" && plain && node.inputs.size() > 2 &&
         graph.Constant(node.inputs[2]) != nullptr;
}

// A new one takes its place, since another layer may read the old. Nothing where the bias is not of
// that many constants.
void AddToBias(int index, absl::Span<const double> shifts, Graph& graph) {
  const Node& node = graph.nodes()[static_cast<size_t>(index)];
  const auto outputs = static_cast<int64_t>(shifts.size());
  Tensor bias(DType::kFloat32, {outputs});
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
    const Tensor* old = graph.Constant(node.inputs[2]);
    if (old == nullptr || old->num_elements() != outputs) return;
    bias = old->Clone();
  }
  const absl::Span<float> values = bias.mutable_span<float>();
  for (size_t o = 0; o < values.size(); ++o) values[o] = static_cast<float>(values[o] + shifts[o]);
  const ValueId id =
      graph.AddInitializer(absl::StrCat(node.name, ".corrected_bias"), std::move(bias), true);
  std::vector<ValueId>& inputs = graph.mutable_nodes()[static_cast<size_t>(index)].inputs;
  inputs.resize(3, kNoValue);
  inputs[2] = id;
}

// [samples, channels] of [N, C, ...]; rows of tokens are their sample's.
at::Tensor SampleMeans(const at::Tensor& outputs, int64_t samples) {
  if (outputs.dim() > 2) return outputs.to(at::kDouble).flatten(2).mean(2);
  return outputs.to(at::kDouble).reshape({samples, -1, outputs.size(1)}).mean(1);
}

// What of each channel's mean difference is not chance.
at::Tensor BeyondChance(const at::Tensor& differences) {
  const at::Tensor mean = differences.mean(0);
  const at::Tensor chance = differences.var(0) / differences.size(0);
  return mean * (1 - chance / mean.square().clamp_min(1e-300)).clamp_min(0);
}

}  // namespace

absl::Status CorrectBiases(Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
                           const Collector& collector) {
  return CorrectBiases(graph, graph, selection, plan, collector);
}

absl::Status CorrectBiases(const Graph& exact, Graph& graph, const QuantSelection& selection,
                           const QuantPlan& plan, const Collector& collector) {
  for (const WeightSite& site : selection.weights) {
    const Node& node = graph.nodes()[static_cast<size_t>(site.node)];
    const std::vector<double> means = collector.ChannelMeans(node.inputs[0]);
    const auto params = plan.weights.find(graph.value(site.weight).name);
    if (means.empty() || params == plan.weights.end() || !MayCorrect(graph, node)) continue;
    const Tensor& weight = *graph.Constant(site.weight);
    const WeightView view = ViewOf(node, weight.shape());
    if (static_cast<int64_t>(means.size()) != view.inputs * view.groups) continue;
    std::vector<double> shifts =
        Shifts(*exact.Constant(site.weight), weight, params->second, view, means);
    for (double& shift : shifts) shift = -shift;
    AddToBias(site.node, shifts, graph);
  }
  return absl::OkStatus();
}

absl::StatusOr<MeasuredBiases> MeasuredBiases::Create(const Graph& exact,
                                                      const QuantSelection& selection,
                                                      const InputBatches& batches) {
  const at::NoGradGuard no_grad;
  MeasuredBiases biases;
  biases.inputs_ = JoinedBatch(exact, batches);
  if (biases.samples() < 2) return biases;
  GraphModuleOptions options;
  for (const WeightSite& site : selection.weights) {
    const Node& node = exact.nodes()[static_cast<size_t>(site.node)];
    if (!MayCorrect(exact, node)) continue;
    biases.layers_[node.outputs[0]] = site.node;
    options.visible.insert(node.outputs[0]);
  }
  const int64_t samples = biases.samples();
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module,
                      GraphModule::Create(exact, options));
  module->set_value_observer([&](ValueId value, const at::Tensor& tensor) {
    const bool batched = tensor.dim() > 1 && tensor.size(0) % samples == 0;
    if (biases.layers_.contains(value) && batched && tensor.numel() > 0)
      biases.means_[value] = SampleMeans(tensor, samples);
  });
  DS_RETURN_IF_ERROR(module->Forward(biases.inputs_).status());
  return biases;
}

int64_t MeasuredBiases::samples() const {
  return inputs_.empty() || inputs_[0].dim() == 0 ? 0 : inputs_[0].size(0);
}

absl::Status MeasuredBiases::Correct(const QuantPlan& plan, Graph& graph) const {
  const at::NoGradGuard no_grad;
  const int64_t samples = this->samples();
  if (samples < 2) return absl::OkStatus();
  std::set<ValueId> layers;
  for (const auto& [value, means] : means_) layers.insert(value);
  DS_ASSIGN_OR_RETURN(const RoundedNetwork rounded,
                      WithRoundedWeights(graph, plan, std::move(layers)));
  const std::map<ValueId, QuantParams>& activations = rounded.activations;
  std::map<ValueId, at::Tensor> shifts;
  rounded.module->set_value_transform([&](ValueId value, const at::Tensor& tensor) {
    at::Tensor changed;
    if (const auto means = means_.find(value); means != means_.end()) {
      at::Tensor& shift = shifts[value];
      shift = BeyondChance(means->second - SampleMeans(tensor, samples));
      std::vector<int64_t> shape(static_cast<size_t>(tensor.dim()), 1);
      shape[1] = -1;
      changed = tensor + shift.to(tensor.scalar_type()).reshape(shape);
    }
    const auto rounding = activations.find(value);
    if (rounding == activations.end()) return changed;
    return Rounded(changed.defined() ? changed : tensor, rounding->second);
  });
  DS_RETURN_IF_ERROR(rounded.module->Forward(inputs_).status());
  for (const auto& [value, shift] : shifts) {
    const at::Tensor all = shift.contiguous();
    AddToBias(layers_.at(value),
              absl::MakeConstSpan(all.const_data_ptr<double>(), static_cast<size_t>(all.numel())),
              graph);
  }
  return absl::OkStatus();
}

}  // namespace ds
