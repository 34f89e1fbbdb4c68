// The server's optimisers, which every party runs on the mean update, element by element: plain
// averaging with a learning rate and a heavy ball (FedAvgM, Hsu et al. 2019), FedAdam and FedYogi
// (Reddi et al., "Adaptive Federated Optimization", 2021, algorithm 2: no bias correction, tau
// outside the root). IEEE operations in a fixed order, so that all parties have the same bits.
#pragma once

#include <cstdint>

#include "federated/options/options.h"

namespace ds::federated {

class ServerStep {
 public:
  // By options.name: fedavgm, fedadam, fedyogi; every other strategy averages plainly.
  explicit ServerStep(const StrategyOptions& options);

  int moments() const;  // vectors of state: 0, 1 or 2
  // What the second moment starts from: tau^2.
  float second_moment_start() const { return epsilon_ * epsilon_; }
  // weights += the step for `delta`. `first`, `second`: the moments of these elements, as far as
  // there are any.
  void Apply(const float* delta, int64_t count, float* weights, float* first, float* second) const;

 private:
  enum class Kind { kAverage, kMomentum, kAdam, kYogi };
  Kind kind_;
  float rate_, momentum_, decay_, epsilon_;
};

}  // namespace ds::federated
