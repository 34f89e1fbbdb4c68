// Optimisers over a GraphModule's parameters, on LibTorch's fused CPU kernels where they exist
// (SGD, AdamW); LAMB (You et al. 2020, algorithm 2) is composed of foreach-free ATen calls.
//
// Weight decay goes to weights of two or more dimensions only: none on norms, biases or
// one-dimensional tensors.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "trainer/optim/options.h"

namespace ds {

class Optimizer {
 public:
  // `parameters` as GraphModule::parameters(); kept (the tensors are shared). InvalidArgument for
  // bad options.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(
      const std::vector<NamedTensor>& parameters, const OptimizerOptions& options);
  virtual ~Optimizer() = default;

  // One step with the parameters' .grad() (undefined: that parameter is left alone).
  virtual absl::Status Step() = 0;
  virtual void set_learning_rate(double learning_rate) = 0;
  virtual double learning_rate() const = 0;
  // Zeroes the gradients in place (memory kept) or drops them.
  virtual void ZeroGrad(bool drop = false) = 0;

  // By parameter's name, of its shape: the elements that are true are set to 0 now and after every
  // step, whatever their gradients. Not a part of State(). NotFound / InvalidArgument naming an
  // unknown or misshapen entry; nothing is changed then.
  virtual absl::Status KeepZeros(const std::map<std::string, at::Tensor>& zeros) = 0;

  // Everything the next step depends on but KeepZeros: "momentum/<parameter>",
  // "exp_avg/<parameter>", ..., "step" (int64 scalar). Stable names; copies.
  virtual std::map<std::string, at::Tensor> State() const = 0;
  // NotFound / InvalidArgument naming a missing, unknown or misshapen entry; nothing is changed
  // then.
  virtual absl::Status LoadState(const std::map<std::string, at::Tensor>& state) = 0;
};

// Global L2 norm of the gradients; scales them in place so that it is at most `max_norm` (<= 0:
// only measures). Deterministic for any number of threads. A norm that is Inf or NaN is returned
// and changes nothing: the caller decides about such a step.
double ClipGradNorm(const std::vector<NamedTensor>& parameters, double max_norm);

}  // namespace ds
