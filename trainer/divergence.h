// Why a run is not finite any more: which tensor was so first, where, and what usually helps.
//
// Nobody looks until a run gives up or an evaluation has no finite loss: the check of the gradients
// is all that a step pays. Then weights are looked at, and the network is run once more with an eye
// on every value: from an output that is not finite the way goes back to the node whose operands
// still were, or to a constant of the model. What a node swallows (the -Inf of a mask, under a
// Softmax) is no fault.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "comm/communicator.h"
#include "executor/graph_module.h"

namespace ds {

struct Divergence {
  std::string what;   // "parameter 'conv1.weight' holds 3 NaN and 2 Inf among 432 values"
  std::string help;   // what usually helps where that happens
  int64_t step = -1;  // of the run; below 0: outside training
};

// What usually helps where weights, or what they make, grow beyond all bounds.
extern const char kLowerLearningRate[];

// The first of the tensors that holds NaN or Inf, as `kind` ("averaged", say) and its name.
std::optional<Divergence> FindInTensors(absl::string_view kind,
                                        const std::map<std::string, at::Tensor>& tensors);
// The first of the module's parameters, in the order of use, or else of its statistics.
std::optional<Divergence> FindInWeights(const GraphModule& module);
bool ParametersAreFinite(const GraphModule& module);

// The weights, or what a forward pass in the module's present mode first makes not finite of
// `inputs`; nullopt where its outputs are finite. Statistics of BatchNorm are left as they were;
// the module's value observer is taken away. Errors as of GraphModule::Forward.
absl::StatusOr<std::optional<Divergence>> FindInForward(GraphModule& module,
                                                        const std::vector<at::Tensor>& inputs);

// InvalidArgument: the headline, and what happened at the earliest step of any rank, on the lowest
// such rank, with what helps. `mine`: what this rank has found, if anything. The same error on all
// ranks. Collective.
absl::Status DivergenceError(absl::string_view headline, const std::optional<Divergence>& mine,
                             Communicator& communicator);

}  // namespace ds
