// How much the loss would change, to first order, if a channel were taken out: Molchanov et al.,
// "Importance estimation for neural network pruning" (CVPR 2019), equation 8, with the gate where
// the channel is scaled last. Behind a batch norm the gate's derivative is gamma * dL/dgamma + beta
// * dL/dbeta; without one it is the sum of w * dL/dw over the filter and b * dL/db. (Before a batch
// norm that uses the batch's statistics the latter sum is 0: scaling the filter changes nothing.)
// Squared, mean of the batches.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "prune/pruning.h"

namespace ds {

struct LabelledBatch {
  std::vector<at::Tensor> inputs;  // the model's inputs in order
  at::Tensor labels;
};

// Hands out batches, and nothing after the last. Small ones (about 32 samples) tell more: signs
// cancel within a batch.
using LabelledBatches = std::function<absl::StatusOr<std::optional<LabelledBatch>>()>;
// The scalar loss of the model's first output.
using LossFunction =
    std::function<absl::StatusOr<at::Tensor>(const at::Tensor& output, const at::Tensor& labels)>;

// By names of batch norms' scales and of weights with no batch norm behind them: what PruneChannels
// takes as `given`. The model runs with its running statistics. InvalidArgument: no batch, or a
// loss that is not finite; errors of the model, loss and batches.
absl::StatusOr<ChannelImportance> TaylorImportance(const Graph& graph,
                                                   const LabelledBatches& batches,
                                                   const LossFunction& loss);

}  // namespace ds
