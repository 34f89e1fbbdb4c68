// What rounding does to a network's outputs.
#pragma once

#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds {

// Squared error of the floating-point outputs of `graph` with `plan`'s weights and activations
// rounded (constants and biases are not), over those of `exact`, in shares of the outputs' power:
// summed over the outputs. `batches`: inputs in order, one entry a batch, >= 1. Both graphs have
// the same inputs and outputs. Errors as of GraphModule::Create and Forward.
absl::StatusOr<double> RoundedOutputError(const Graph& exact, const Graph& graph,
                                          const QuantPlan& plan,
                                          const std::vector<std::vector<at::Tensor>>& batches);

}  // namespace ds
