#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"

namespace ds {

namespace {

bool IsFloatConstant(const Graph& graph, ValueId id) {
  const Tensor* tensor = graph.Constant(id);
  return tensor != nullptr && tensor->dtype() == DType::kFloat32;
}

bool CanFold(const Graph& graph, const Node& norm, const Node& conv) {
  for (int i = 1; i <= 4; ++i) {
    if (!IsFloatConstant(graph, norm.inputs[i])) return false;
  }
  const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;
  return IsFloatConstant(graph, conv.inputs[1]) &&
         (!has_bias || IsFloatConstant(graph, conv.inputs[2]));
}

void Fold(Graph& graph, Node& conv, const Node& norm) {
  auto floats = [&graph](ValueId id) { return graph.Constant(id)->span<float>(); };
  const auto gamma = floats(norm.inputs[1]);
  const auto beta = floats(norm.inputs[2]);
  const auto mean = floats(norm.inputs[3]);
  const auto variance = floats(norm.inputs[4]);
  const double epsilon = norm.GetFloat("epsilon", 1e-5f);
  const bool has_bias = conv.inputs.size() > 2 && conv.inputs[2] != kNoValue;

  // New initialisers, since others may read the old ones.
  Tensor weight = graph.Constant(conv.inputs[1])->Clone();
  Tensor bias(DType::kFloat32, {static_cast<int64_t>(gamma.size())});
  auto w = weight.mutable_span<float>();
  auto b = bias.mutable_span<float>();
  const size_t row = gamma.empty() ? 0 : w.size() / gamma.size();
  for (size_t channel = 0; channel < gamma.size(); ++channel) {
    const double scale = gamma[channel] / std::sqrt(variance[channel] + epsilon);
    for (size_t i = channel * row; i < (channel + 1) * row; ++i) {
      w[i] = static_cast<float>(w[i] * scale);
    }
    const double old = has_bias ? floats(conv.inputs[2])[channel] : 0.0;
    b[channel] = static_cast<float>((old - mean[channel]) * scale + beta[channel]);
  }
  const bool trainable = graph.initializers().at(conv.inputs[1]).trainable;
  conv.inputs.resize(3, kNoValue);
  conv.inputs[1] = graph.AddInitializer(conv.name + ".folded_weight", std::move(weight), trainable);
  conv.inputs[2] = graph.AddInitializer(conv.name + ".folded_bias", std::move(bias), trainable);
  conv.outputs[0] = norm.outputs[0];
}

}  // namespace

absl::Status FoldBatchNorms(Graph& graph) {
  const Uses uses(graph);
  std::vector<Node>& nodes = graph.mutable_nodes();
  std::vector<bool> removed(nodes.size(), false);
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].op != "BatchNormalization") continue;
    const int producer = uses.ProducerIndex(nodes[i].inputs[0]);
    if (producer < 0 || nodes[producer].op != "Conv" || removed[producer]) continue;
    // A convolution that writes another value by now has been folded with another norm.
    if (nodes[producer].outputs[0] != nodes[i].inputs[0]) continue;
    if (uses.Count(nodes[i].inputs[0]) != 1 || !CanFold(graph, nodes[i], nodes[producer])) continue;
    Fold(graph, nodes[producer], nodes[i]);
    removed[i] = true;
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (!removed[i]) kept.push_back(std::move(nodes[i]));
  }
  nodes = std::move(kept);
  return EliminateDeadNodes(graph);
}

}  // namespace ds
