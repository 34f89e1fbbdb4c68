// Leaves elements of an activation unrounded by chance (QDrop).
#pragma once

#include <cstdint>

#include "ATen/core/Generator.h"
#include "ATen/core/Tensor.h"

namespace ds {

class RandomDrop {
 public:
  // `share` of the elements stay exact, [0, 1]. The same seed and calls give the same elements.
  RandomDrop(double share, uint64_t seed);

  bool active() const { return share_ > 0; }
  // `rounded`, with some elements from `exact`; both of one shape. Differentiable in both.
  at::Tensor Mix(const at::Tensor& rounded, const at::Tensor& exact);

 private:
  const double share_;
  at::Generator generator_;
  at::Tensor pool_;  // bool: drawing it anew for each call would cost more than the convolutions
};

}  // namespace ds
