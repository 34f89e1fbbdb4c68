#include "quant/torch/bias_correction.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/affine.h"

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
std::vector<double> Shifts(const Tensor& weight, const QuantParams& params, const WeightView& view,
                           const std::vector<double>& means) {
  const absl::Span<const float> exact = weight.span<float>();
  std::vector<float> rounded(exact.size());
  FakeQuantize(exact, weight.shape(), params, absl::MakeSpan(rounded));
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

}  // namespace

absl::Status CorrectBiases(Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
                           const Collector& collector) {
  for (const WeightSite& site : selection.weights) {
    Node& node = graph.mutable_nodes()[static_cast<size_t>(site.node)];
    const std::vector<double> means = collector.ChannelMeans(node.inputs[0]);
    const auto params = plan.weights.find(graph.value(site.weight).name);
    if (means.empty() || params == plan.weights.end() || !MayCorrect(graph, node)) continue;
    const Tensor& weight = *graph.Constant(site.weight);
    const WeightView view = ViewOf(node, weight.shape());
    if (static_cast<int64_t>(means.size()) != view.inputs * view.groups) continue;
    const std::vector<double> shifts = Shifts(weight, params->second, view, means);
    Tensor bias(DType::kFloat32, {view.outputs});
    const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    if (has_bias) {
      const Tensor* old = graph.Constant(node.inputs[2]);
      if (old == nullptr || old->num_elements() != view.outputs) continue;
      bias = old->Clone();
    }
    const absl::Span<float> values = bias.mutable_span<float>();
    for (size_t o = 0; o < values.size(); ++o)
      values[o] = static_cast<float>(values[o] - shifts[o]);
    node.inputs.resize(3, kNoValue);
    // A new one: another layer may read the old.
    const ValueId id =
        graph.AddInitializer(absl::StrCat(node.name, ".corrected_bias"), std::move(bias), true);
    graph.mutable_nodes()[static_cast<size_t>(site.node)].inputs[2] = id;
  }
  return absl::OkStatus();
}

}  // namespace ds
