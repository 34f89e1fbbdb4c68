// LibTorch's fused Adam (Kingma and Ba, ICLR 2015) for a handful of small tensors: what
// reconstruction learns with. The trainer's optimisers, in a room above, know of groups and states.
#pragma once

#include <vector>

#include "ATen/core/Tensor.h"

namespace ds {

class Adam {
 public:
  // A leaf that requires a gradient, with its own learning rate.
  void Add(const at::Tensor& leaf, double rate);
  // Moves every leaf by its gradient and forgets the gradient; leaves without one stay.
  void Step();

 private:
  struct State {
    at::Tensor leaf, mean, square;
    double rate = 0;
  };

  std::vector<State> states_;
  at::Tensor steps_;  // a scalar: the kernel reads its count as a tensor
};

}  // namespace ds
