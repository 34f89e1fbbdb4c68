#include "quant/repair/equalization.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// A layer's weights as [outputs, inputs of one output, taps], and what its channels are scaled by.
struct Layer {
  int node = -1;
  int64_t outputs = 0, inputs = 0, taps = 1, groups = 1;
  bool transposed = false;         // stored [inputs, outputs]
  std::vector<double> magnitudes;  // [outputs * inputs]: max |w| over taps, as it was
  std::vector<double> out;         // divides each output channel
  std::vector<double> in;          // multiplies each input channel

  int64_t InputChannel(int64_t o, int64_t i) const { return o / (outputs / groups) * inputs + i; }
  size_t Index(int64_t o, int64_t i, int64_t t) const {
    return static_cast<size_t>(transposed ? i * outputs + o : (o * inputs + i) * taps + t);
  }

  template <typename Visit>  // of (o, input channel, max |w| as scaled now)
  void ForEach(Visit visit) const {
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t i = 0; i < inputs; ++i) {
        const auto c = static_cast<size_t>(InputChannel(o, i));
        const double now =
            magnitudes[static_cast<size_t>(o * inputs + i)] * in[c] / out[static_cast<size_t>(o)];
        visit(static_cast<size_t>(o), c, now);
      }
    }
  }
  std::vector<double> OutputRanges() const {
    std::vector<double> ranges(out.size(), 0.0);
    ForEach([&](size_t o, size_t, double now) { ranges[o] = std::max(ranges[o], now); });
    return ranges;
  }
  std::vector<double> InputRanges() const {
    std::vector<double> ranges(in.size(), 0.0);
    ForEach([&](size_t, size_t c, double now) { ranges[c] = std::max(ranges[c], now); });
    return ranges;
  }
};

bool IsHomogeneousByChannel(const std::string& op) {
  static const std::set<std::string> ops = {"Relu",        "LeakyRelu",         "MaxPool",
                                            "AveragePool", "GlobalAveragePool", "Identity"};
  return ops.contains(op);
}

class Equalizer {
 public:
  Equalizer(Graph& graph, const EqualizationOptions& options)
      : graph_(graph),
        options_(options),
        reads_(graph.values().size(), 0),
        maker_(graph.values().size(), -1) {
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      for (const ValueId id : graph.nodes()[n].inputs) {
        if (id != kNoValue) ++reads_[static_cast<size_t>(id)];
      }
      for (const ValueId id : graph.nodes()[n].outputs) {
        if (id != kNoValue) maker_[static_cast<size_t>(id)] = static_cast<int>(n);
      }
    }
    for (const ValueId id : graph.outputs()) ++reads_[static_cast<size_t>(id)];
  }

  absl::StatusOr<EqualizationReport> Run() {
    for (size_t n = 0; n < graph_.nodes().size(); ++n)
      DS_RETURN_IF_ERROR(FindPair(static_cast<int>(n)));
    if (pairs_.empty()) return report_;
    report_.converged = false;
    while (!report_.converged && report_.sweeps < options_.most_sweeps) {
      ++report_.sweeps;
      double furthest = 0;
      for (const auto& [first, second] : pairs_)
        furthest = std::max(furthest, Balance(layers_.at(first), layers_.at(second)));
      report_.converged = furthest <= options_.tolerance;
    }
    for (const auto& [node, layer] : layers_) Apply(layer);
    return report_;
  }

 private:
  const Node& NodeAt(int n) const { return graph_.nodes()[static_cast<size_t>(n)]; }
  int Reads(ValueId id) const { return reads_[static_cast<size_t>(id)]; }

  // The layer before node `second`, with nothing but homogeneous operators between.
  absl::Status FindPair(int second) {
    const Node& node = NodeAt(second);
    if (node.op != "Conv" && node.op != "Gemm") return absl::OkStatus();
    const auto skip = [&](std::string why) {
      report_.skipped.push_back(absl::StrCat(node.name, ": ", why));
      return absl::OkStatus();
    };
    ValueId id = node.inputs[0];
    while (true) {
      const int maker = maker_[static_cast<size_t>(id)];
      if (maker < 0) return skip("reads the model's input");
      if (Reads(id) != 1)
        return skip(absl::StrCat("value '", graph_.value(id).name, "' has other readers"));
      const Node& before = NodeAt(maker);
      if (before.op == "Conv" || before.op == "Gemm") return AddPair(maker, second);
      if (!IsHomogeneousByChannel(before.op))
        return skip(absl::StrCat("behind ", before.op, " '", before.name, "'"));
      id = before.inputs[0];
    }
  }

  absl::Status AddPair(int first, int second) {
    for (const int n : {first, second}) {
      const std::string obstacle = Obstacle(NodeAt(n), n == first);
      if (obstacle.empty()) continue;
      report_.skipped.push_back(
          absl::StrCat(NodeAt(second).name, ": ", NodeAt(n).name, " ", obstacle));
      return absl::OkStatus();
    }
    DS_RETURN_IF_ERROR(AddLayer(first));
    DS_RETURN_IF_ERROR(AddLayer(second));
    if (layers_.at(first).outputs != static_cast<int64_t>(layers_.at(second).in.size())) {
      report_.skipped.push_back(
          absl::StrCat(NodeAt(second).name, ": other channels than ", NodeAt(first).name));
      return absl::OkStatus();
    }
    pairs_.emplace_back(first, second);
    report_.pairs.push_back({NodeAt(first).name, NodeAt(second).name});
    return absl::OkStatus();
  }

  // Why the node's constants may not be scaled; empty if they may.
  std::string Obstacle(const Node& node, bool scales_bias) const {
    const Tensor* weight = graph_.Constant(node.inputs[1]);
    if (weight == nullptr || weight->dtype() != DType::kFloat32)
      return "has no constant float32 weight";
    if (Reads(node.inputs[1]) != 1) return "shares its weight";
    if (node.op == "Gemm" &&
        (node.GetFloat("alpha", 1.0f) != 1.0f || node.GetFloat("beta", 1.0f) != 1.0f ||
         node.GetInt("transA", 0) != 0)) {
      return "scales or transposes";
    }
    if (!scales_bias || node.inputs.size() < 3 || node.inputs[2] == kNoValue) return "";
    const Tensor* bias = graph_.Constant(node.inputs[2]);
    if (bias == nullptr || bias->dtype() != DType::kFloat32 ||
        bias->num_elements() != Outputs(node, *weight))
      return "has a bias that is not one constant a channel";
    return Reads(node.inputs[2]) == 1 ? "" : "shares its bias";
  }

  static int64_t Outputs(const Node& node, const Tensor& weight) {
    return weight.dim(node.op == "Gemm" && node.GetInt("transB", 0) == 0 ? 1 : 0);
  }

  absl::Status AddLayer(int n) {
    if (layers_.contains(n)) return absl::OkStatus();
    const Node& node = NodeAt(n);
    const Tensor& weight = *graph_.Constant(node.inputs[1]);
    Layer layer;
    layer.node = n;
    layer.transposed = node.op == "Gemm" && node.GetInt("transB", 0) == 0;
    layer.outputs = Outputs(node, weight);
    layer.inputs = weight.dim(layer.transposed ? 0 : 1);
    layer.groups = node.op == "Conv" ? node.GetInt("group", 1) : 1;
    for (int d = 2; d < weight.rank(); ++d) layer.taps *= weight.dim(d);
    layer.out.assign(static_cast<size_t>(layer.outputs), 1.0);
    layer.in.assign(static_cast<size_t>(layer.inputs * layer.groups), 1.0);
    const absl::Span<const float> values = weight.span<float>();
    for (int64_t o = 0; o < layer.outputs; ++o) {
      for (int64_t i = 0; i < layer.inputs; ++i) {
        double most = 0;
        for (int64_t t = 0; t < layer.taps; ++t) {
          const double value = values[layer.Index(o, i, t)];
          if (!std::isfinite(value)) {
            return absl::InvalidArgumentError(absl::StrCat(
                "weight '", graph_.value(node.inputs[1]).name, "' of node '", node.name,
                "' holds NaN or Inf in output channel ", o, "; train it again"));
          }
          most = std::max(most, std::abs(value));
        }
        layer.magnitudes.push_back(most);
      }
    }
    layers_[n] = std::move(layer);
    return absl::OkStatus();
  }

  // Makes the two ranges of every channel equal; the greatest |s - 1|.
  static double Balance(Layer& first, Layer& second) {
    const std::vector<double> before = first.OutputRanges(), after = second.InputRanges();
    double furthest = 0;
    for (size_t c = 0; c < before.size(); ++c) {
      if (before[c] == 0 || after[c] == 0) continue;
      const double s = std::sqrt(before[c] / after[c]);
      first.out[c] *= s;
      second.in[c] *= s;
      furthest = std::max(furthest, std::abs(s - 1));
    }
    return furthest;
  }

  void Apply(const Layer& layer) {
    const Node& node = NodeAt(layer.node);
    Tensor& weight = graph_.mutable_initializers().at(node.inputs[1]).data;
    weight = weight.Clone();  // copies of the graph share the old bytes
    const absl::Span<float> values = weight.mutable_span<float>();
    for (int64_t o = 0; o < layer.outputs; ++o) {
      for (int64_t i = 0; i < layer.inputs; ++i) {
        const double by = layer.in[static_cast<size_t>(layer.InputChannel(o, i))] /
                          layer.out[static_cast<size_t>(o)];
        for (int64_t t = 0; t < layer.taps; ++t) {
          float& value = values[layer.Index(o, i, t)];
          value = static_cast<float>(value * by);
        }
      }
    }
    const bool scaled =
        std::any_of(layer.out.begin(), layer.out.end(), [](double s) { return s != 1; });
    if (!scaled || node.inputs.size() < 3 || node.inputs[2] == kNoValue) return;
    Tensor& bias = graph_.mutable_initializers().at(node.inputs[2]).data;
    bias = bias.Clone();
    const absl::Span<float> offsets = bias.mutable_span<float>();
    for (size_t o = 0; o < offsets.size(); ++o)
      offsets[o] = static_cast<float>(offsets[o] / layer.out[o]);
  }

  Graph& graph_;
  const EqualizationOptions options_;
  std::vector<int> reads_;       // by nodes and as outputs of the graph
  std::vector<int> maker_;       // node that writes the value, or -1
  std::map<int, Layer> layers_;  // by node
  std::vector<std::pair<int, int>> pairs_;
  EqualizationReport report_;
};

}  // namespace

absl::StatusOr<EqualizationReport> EqualizeLayers(Graph& graph,
                                                  const EqualizationOptions& options) {
  if (options.most_sweeps < 1 || !(options.tolerance > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("equalisation: most_sweeps is ", options.most_sweeps, " and tolerance ",
                     options.tolerance, "; they must be at least 1 and above 0"));
  }
  return Equalizer(graph, options).Run();
}

}  // namespace ds
