// Which values are quantised, and which clamps QuantizeLinear makes superfluous.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "quant/affine.h"

namespace ds::qdq {

struct Placement {
  // By ValueId.
  std::vector<std::optional<QuantParams>> values;
  // By node index: a Relu or Clip that the quantisation of its result does already.
  std::vector<bool> absorbed;
  // By node index: passes on codes as they are, so that they need no clipping again.
  std::vector<bool> passes_on;

  bool Quantised(ValueId id) const {
    return id != kNoValue && values[static_cast<size_t>(id)].has_value();
  }
};

// `graph` as Prepare leaves it, `activations` by the names it has there.
Placement Place(const Graph& graph, const std::map<std::string, QuantParams>& activations);

// Input slots that may hold a weight: 1 of Conv and Gemm, 0 and 1 of MatMul.
std::vector<int> WeightSlots(const Node& node);

// Operators whose result has no value that input 0 does not have, and that ONNX Runtime runs on
// codes as they are.
bool KeepsValues(const Node& node);

// A HardSigmoid that an addition of a constant and the saturation of its result's codes compute,
// since these lie over [0, 1]: clamp(alpha x + beta, 0, 1) = alpha clamp(x + beta / alpha, 0,
// 1 / alpha).
bool SaturatesAsHardSigmoid(const Node& node, const QuantParams& result);

// Relu, or Clip with constant bounds.
struct Clamp {
  float low;
  float high;
};
std::optional<Clamp> ClampOf(const Graph& graph, const Node& node);

}  // namespace ds::qdq
