// Exponential moving average of the weights (fp32). decay_t = min(decay, (1 + t) / (10 + t)), so
// that early averages follow.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "executor/graph_module.h"

namespace ds {

class WeightEma {
 public:
  // Starts from the module's weights. Parameters and floating-point buffers (BatchNorm's
  // statistics) are averaged. decay: [0, 1).
  WeightEma(const GraphModule& module, double decay);
  // After `steps` optimiser steps (1 or more), whose decays are multiplied: the weights between are
  // not looked at.
  void Update(int64_t steps = 1);
  // Exchanges the module's weights with the averages in place: before and after an evaluation.
  // Update, State and LoadState belong outside such a pair.
  void Swap();
  // The averages, named "ema/<name>": of parameters, and of buffers, of which each rank has its own
  // until they are made equal (sync/buffer_agreement.h). Shared.
  const std::vector<NamedTensor>& parameters() const { return parameters_; }
  const std::vector<NamedTensor>& buffers() const { return buffers_; }
  std::map<std::string, at::Tensor> State() const;  // "ema/<name>", "step"
  // NotFound / InvalidArgument naming a missing, unknown or misshapen entry; nothing is changed
  // then.
  absl::Status LoadState(const std::map<std::string, at::Tensor>& state);

 private:
  std::vector<NamedTensor> live_;    // parameters, then buffers
  std::vector<at::Tensor> average_;  // of each
  std::vector<NamedTensor> parameters_, buffers_;
  double decay_;
  int64_t step_ = 0;
};

}  // namespace ds
