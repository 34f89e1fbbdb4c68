// Looks at a module's gates (prune/channel_gates.h) while it runs: their penalty, for the loss, and
// how many are 0.
//
// The penalty is scale-free. Gao et al. add lambda * mean(s), an L1 norm; but behind the next
// convolution stands a batch norm, so that all saliencies of a layer may shrink together at no
// cost, which lowers an L1 norm and makes no zeros until it makes many at once (docs/gating.md). So
// each layer's L1 norm is divided by its L2 norm, image by image, as Hoyer's measure of sparsity
// does (Hoyer, "Non-negative matrix factorization with sparseness constraints", JMLR 2004; as a
// regulariser: Yang et al., "DeepHoyer", ICLR 2020):
//
//   penalty = sum over layers l of C_l / C * mean over images n of m / q,
//   m = mean over channels of s, q = sqrt(mean over channels of s^2 + kTiny), C the sum of the C_l
//
// with the gradient C_l / (C N) * (1/q - m s / q^3) / C_l: small saliencies shrink, great ones
// grow. It is 1 where all of a layer's saliencies are equal, and less with every zero.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "executor/graph_module.h"
#include "prune/channel_gates.h"

namespace ds {

// Of one layer's saliencies [N, C, 1, 1] or [N, C]: mean over images of m / q, fp32,
// differentiable.
at::Tensor SaliencySpread(const at::Tensor& saliency);

struct GateCount {
  double zeros = 0, gates = 0;  // saliencies that are exactly 0, and all of them
};

class GateWatch {
 public:
  // Takes the module's value observer. The module may outlive the watch.
  GateWatch(GraphModule& module, const std::vector<ChannelGate>& gates);

  // Of the forward pass that was last begun: the penalty (undefined before the first pass) and the
  // count.
  at::Tensor Penalty() const { return state_->penalty; }
  GateCount LastCount() const { return state_->last; }

  // Adds up the counts of all passes from one call to the next.
  void StartCounting() { state_->total = {}; }
  GateCount Counted() const { return state_->total; }

 private:
  struct State {
    at::Tensor penalty;
    GateCount last, total;
    double channels = 0;  // of all gates
  };
  std::shared_ptr<State> state_;  // the observer has it too
};

}  // namespace ds
