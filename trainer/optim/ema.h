// Exponential moving average of the weights (fp32). decay_t = min(decay, (1 + t) / (10 + t)), so that early averages follow.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "trainer/executor/graph_module.h"

namespace ds {

class WeightEma {
 public:
  // Averages parameters and copies buffers (BatchNorm statistics are averaged too).
  WeightEma(const GraphModule& module, double decay);
  void Update();  // after an optimiser step
  // Exchanges the module's weights with the averages in place: before and after an evaluation.
  void Swap();
  std::map<std::string, at::Tensor> State() const;      // "ema/<name>", "step"
  absl::Status LoadState(const std::map<std::string, at::Tensor>& state);

 private:
  std::vector<NamedTensor> live_;
  std::vector<at::Tensor> average_;
  double decay_;
  int64_t step_ = 0;
};

}  // namespace ds
