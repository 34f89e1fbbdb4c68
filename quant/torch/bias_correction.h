// Takes the mean of what rounding does to a layer's outputs out of its bias: by computation for
// what rounded weights do, by measurement for all that comes together in a network.
#pragma once

#include <map>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"
#include "quant/torch/floating/output_noise.h"

namespace ds {

// For each Conv, and Gemm with a bias, whose input's channel means were collected: b[o] -= sum over
// i of (w'[o, i] - w[o, i]) mean[i], where w' are the rounded weights (Nagel et al. 2019,
// "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2; the means
// are measured here). A Conv without a bias gets one. Padding is left out of account: its zeros
// lower the means at the rims.
absl::Status CorrectBiases(Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
                           const Collector& collector);
// The same where `graph`'s weights are other than `exact`'s already: roundings that were chosen.
absl::Status CorrectBiases(const Graph& exact, Graph& graph, const QuantSelection& selection,
                           const QuantPlan& plan, const Collector& collector);

// What is left after that, of rounded activations too: the same samples run through the float
// network and the rounded one, and each layer's outputs are brought to the float ones' means, from
// the front, so that a layer sees what those before it have become (Nagel et al. 2019, appendix D,
// "empirical bias correction").
class MeasuredBiases {
 public:
  // Runs the float network on the batches, joined as far as they fit, samples along the first axes.
  // A graph for one sample alone has nothing corrected. Errors as of GraphModule.
  static absl::StatusOr<MeasuredBiases> Create(const Graph& exact, const QuantSelection& selection,
                                               const InputBatches& batches);

  // `graph`: the exact one, biases aside. A channel's mean difference d over n samples that vary by
  // v around it counts as (1 - v / (n d^2)) d, and not at all where that is negative: chance alone
  // would make as much.
  absl::Status Correct(const QuantPlan& plan, Graph& graph) const;

 private:
  int64_t samples() const;

  std::vector<at::Tensor> inputs_;
  std::map<ValueId, int> layers_;        // outputs to nodes
  std::map<ValueId, at::Tensor> means_;  // [samples, channels]
};

}  // namespace ds
