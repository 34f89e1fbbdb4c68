#include "deploy/qdq/placement.h"

#include <cmath>
#include <limits>

#include "graph/passes/uses.h"

namespace ds::qdq {
namespace {

// Those that rearrange all elements: their input and their result have the same range.
bool OnlyMoves(const std::string& op) {
  for (const char* known : {"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze"}) {
    if (op == known) return true;
  }
  return false;
}

std::optional<float> ScalarBound(const Graph& graph, const Node& node, size_t slot,
                                 float fallback) {
  if (slot >= node.inputs.size() || node.inputs[slot] == kNoValue) return fallback;
  const Tensor* bound = graph.Constant(node.inputs[slot]);
  if (bound == nullptr || bound->dtype() != DType::kFloat32 || bound->num_elements() != 1) {
    return std::nullopt;
  }
  return bound->span<float>()[0];
}

int32_t Code(float value, const QuantParams& params) {
  int32_t code = 0;
  QuantizeValues({&value, 1}, {}, params, {&code, 1});
  return code;
}

// True if values outside the clamp have the same codes with and without it.
bool Saturates(const QuantParams& params, const Clamp& clamp) {
  return Code(clamp.low, params) == params.type.min() &&
         Code(clamp.high, params) == params.type.max();
}

}  // namespace

std::vector<int> WeightSlots(const Node& node) {
  if (node.op == "Conv" || node.op == "Gemm") return {1};
  if (node.op == "MatMul") return {0, 1};
  return {};
}

bool KeepsValues(const Node& node) {
  if (node.op == "Resize") return node.GetString("mode", "nearest") == "nearest";
  for (const char* known : {"MaxPool", "Slice", "Split", "Gather", "Expand", "Tile"}) {
    if (node.op == known) return true;
  }
  return OnlyMoves(node.op);
}

bool SaturatesAsHardSigmoid(const Node& node, const QuantParams& result) {
  if (node.op != "HardSigmoid" || result.type.is_signed || result.zero_points[0] != 0) return false;
  const float alpha = node.GetFloat("alpha", 0.2f), beta = node.GetFloat("beta", 0.5f);
  const double most = static_cast<double>(result.scales[0]) * result.type.max();
  return alpha > 0 && beta > 0 && std::abs(most - 1.0) < 1e-6;
}

std::optional<Clamp> ClampOf(const Graph& graph, const Node& node) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (node.op == "Relu") return Clamp{0.0f, kInfinity};
  if (node.op != "Clip") return std::nullopt;
  const auto low = ScalarBound(graph, node, 1, -kInfinity);
  const auto high = ScalarBound(graph, node, 2, kInfinity);
  if (!low.has_value() || !high.has_value() || !(*low <= *high)) return std::nullopt;
  return Clamp{*low, *high};
}

Placement Place(const Graph& graph, const std::map<std::string, QuantParams>& activations) {
  const Uses uses(graph);
  Placement placement;
  auto& values = placement.values;
  values.resize(graph.values().size());
  placement.absorbed.resize(graph.nodes().size(), false);
  placement.passes_on.resize(graph.nodes().size(), false);
  for (const auto& [name, params] : activations) {
    const ValueId id = graph.FindValue(name);
    if (id != kNoValue) values[id] = params;
  }
  // Quantised before they are moved instead of after: the same numbers, and the node before gets a
  // quantised result.
  for (size_t i = graph.nodes().size(); i-- > 0;) {
    const Node& node = graph.nodes()[i];
    if (!OnlyMoves(node.op) || graph.IsInitializer(node.inputs[0])) continue;
    const ValueId input = node.inputs[0];
    if (!values[input] && uses.Count(input) == 1) values[input] = values[node.outputs[0]];
  }
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (KeepsValues(node) && values[node.inputs[0]]) {
      for (const ValueId id : node.outputs) values[id] = values[node.inputs[0]];
      placement.passes_on[i] = true;
    }
    const auto clamp = ClampOf(graph, node);
    if (!clamp || !values[node.outputs[0]]) continue;
    placement.absorbed[i] = Saturates(*values[node.outputs[0]], *clamp);
    const ValueId input = node.inputs[0];
    const bool alone = uses.Count(input) == 1 && uses.ProducerIndex(input) >= 0;
    if (placement.absorbed[i] && alone) values[input].reset();
  }
  return placement;
}

}  // namespace ds::qdq
