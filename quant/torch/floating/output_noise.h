// How far rounding takes a network's outputs from the float ones.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds {

using InputBatches = std::vector<std::vector<at::Tensor>>;  // each the model's inputs, in order

// `graph` with `plan`'s weights in place of the exact ones. `activations`, by their values, are
// visible in `module`, whose transform may round them; so is what the caller names. Errors as of
// GraphModule.
struct RoundedNetwork {
  std::unique_ptr<GraphModule> module;
  std::map<ValueId, QuantParams> activations;
};
absl::StatusOr<RoundedNetwork> WithRoundedWeights(Graph graph, const QuantPlan& plan,
                                                  std::set<ValueId> visible = {});
at::Tensor Rounded(const at::Tensor& values, const QuantParams& params);

class OutputNoise {
 public:
  // Runs the float network once. `batches`: at least one. Errors as of GraphModule.
  static absl::StatusOr<OutputNoise> Create(const Graph& exact, InputBatches batches);

  // Of each output: squared error with `plan`'s weights and activations rounded in `graph`
  // (constants and biases are not), over the exact output's power; 0 for outputs without power and
  // those that are no floats. Masked elements, -Inf in both, do not count. `graph` has the exact
  // one's inputs and outputs.
  absl::StatusOr<std::vector<double>> Of(const Graph& graph, const QuantPlan& plan) const;

 private:
  InputBatches batches_;
  InputBatches wanted_;  // outputs
};

// Summed over the outputs.
absl::StatusOr<double> RoundedOutputError(const Graph& exact, const Graph& graph,
                                          const QuantPlan& plan, const InputBatches& batches);

}  // namespace ds
