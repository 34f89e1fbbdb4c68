// What every optimiser shares: its parameters as flat spans of memory, the decision which of them
// are decayed, and the per-parameter state tensors with their save and load.
//
// LibTorch's fused CPU kernels walk raw memory and ignore strides. A parameter is therefore handed
// to them as a one-dimensional alias of its storage in memory order (channels_last or not), its
// state is allocated with the same strides, and a gradient with other strides is first copied into
// the parameter's layout.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "trainer/optim/optimizer.h"

namespace ds {

// The elements of `tensor` in memory order as a one-dimensional alias. `tensor` must be dense and
// not overlapping.
at::Tensor FlatAlias(const at::Tensor& tensor);
// True if element i in memory is the same element of both (extents of 1 may have any stride).
bool SameLayout(const at::Tensor& a, const at::Tensor& b);
// Weight decay is for tensors of two or more dimensions that do not belong to a normalisation.
bool TakesWeightDecay(const NamedTensor& parameter);

// One float32 state tensor per parameter, zero at first, with the parameter's strides.
struct ParameterState {
  std::string prefix;               // "momentum": saved as "momentum/<parameter>"
  std::vector<at::Tensor> tensors;  // as the parameters
  std::vector<at::Tensor> flat;     // aliases of `tensors`
};

// Implements all of Optimizer but the arithmetic.
class OptimizerBase : public Optimizer {
 public:
  absl::Status Step() final;
  void set_learning_rate(double learning_rate) final { options_.learning_rate = learning_rate; }
  double learning_rate() const final { return options_.learning_rate; }
  void ZeroGrad(bool drop) final;
  absl::Status KeepZeros(const std::map<std::string, at::Tensor>& zeros) final;
  std::map<std::string, at::Tensor> State() const final;
  absl::Status LoadState(const std::map<std::string, at::Tensor>& state) final;

 protected:
  // `prefixes`: names of the state tensors a parameter has. `count_steps`: a step count a parameter
  // ("steps/<parameter>").
  OptimizerBase(const std::vector<NamedTensor>& parameters, const OptimizerOptions& options,
                const std::vector<std::string>& prefixes, bool count_steps);

  // Updates parameters_[i] for every i in `members` from grads[k], the flat gradient of members[k].
  // All of one call have the same weight decay. Called without autograd; step counts are already
  // those of this step.
  virtual void Apply(const std::vector<int>& members, const std::vector<at::Tensor>& grads,
                     double weight_decay) = 0;

  // The flat aliases of `members` in `all`.
  static std::vector<at::Tensor> Pick(const std::vector<at::Tensor>& all,
                                      const std::vector<int>& members);

  OptimizerOptions options_;
  std::vector<NamedTensor> parameters_;
  std::vector<at::Tensor> flat_parameters_;
  std::vector<ParameterState> states_;
  std::vector<int64_t> steps_;  // steps that parameter i has taken; empty unless counted

 private:
  // The shape that an entry of State() must have, by name.
  std::map<std::string, at::Tensor> Expected() const;
  void SetZeros();
  absl::Status StepGroup(const std::vector<int>& group, double weight_decay);

  bool count_steps_;
  int64_t step_ = 0;
  std::vector<int> decayed_, plain_;  // indices of parameters
  std::map<int, at::Tensor> zeros_;   // parameter -> bool, of its shape
};

std::unique_ptr<Optimizer> MakeSgd(const std::vector<NamedTensor>& parameters,
                                   const OptimizerOptions& options);
std::unique_ptr<Optimizer> MakeAdamW(const std::vector<NamedTensor>& parameters,
                                     const OptimizerOptions& options);
std::unique_ptr<Optimizer> MakeLamb(const std::vector<NamedTensor>& parameters,
                                    const OptimizerOptions& options);

}  // namespace ds
