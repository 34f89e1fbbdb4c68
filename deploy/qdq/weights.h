// Codes of weights and biases, and the scales that both must agree on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/qdq/placement.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds::qdq {

// A node whose bias becomes integer.
struct BiasUse {
  ValueId bias = kNoValue;
  ValueId input = kNoValue;   // quantised activation
  ValueId weight = kNoValue;  // initialiser
};

struct WeightPlan {
  // The plan's, with scales enlarged where a bias asks for it, and those of channels of zeros made
  // fine enough for theirs.
  std::map<ValueId, QuantParams> weights;
  // By node index.
  std::map<int, BiasUse> biases;
  std::vector<std::string> enlarged;  // names of the weights whose scales changed
};

// InvalidArgument for a bias that holds NaN or Inf.
absl::StatusOr<WeightPlan> PlanWeights(const Graph& graph, const QuantPlan& plan,
                                       const Placement& placement);

// The axis of a weight along which its output channels lie; -1 if the node is none that has any.
int OutputAxis(const Node& node, int slot, int rank);

// int32 codes of a float bias for scales input_scale * weight_scales[channel] (or [0] for all),
// rounded as fp32 products.
std::vector<int32_t> BiasCodes(absl::Span<const float> bias, float input_scale,
                               absl::Span<const float> weight_scales);

}  // namespace ds::qdq
