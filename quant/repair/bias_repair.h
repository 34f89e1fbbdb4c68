// Makes room in a plan for biases whose 32-bit codes would overflow; quant/repair/bias_range.h has
// the rule.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"

namespace ds {

struct RaisedScales {
  std::string node;
  std::string weight;
  std::vector<int64_t> channels;  // output channels whose weight scale grew, ascending
};

// For every Conv, Gemm and MatMul of `selection` (made of `graph`) with an entry in plan.weights,
// whose input has one in plan.activations. Weights with scales for groups have float biases and
// stay as they are. InvalidArgument, naming the node: a bias that holds NaN or Inf, or one that no
// scale of fp32 can hold.
absl::StatusOr<std::vector<RaisedScales>> FitBiases(const Graph& graph,
                                                    const QuantSelection& selection,
                                                    QuantPlan& plan);

// One line for people: node, weight, channels (the first few) and what it means.
std::string Describe(const RaisedScales& raised);

}  // namespace ds
