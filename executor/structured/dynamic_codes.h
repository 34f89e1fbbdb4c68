// A tensor in 256 codes of its own range, as DynamicQuantizeLinear defines them.
#pragma once

#include "ATen/ATen.h"

namespace ds::executor {

// All in fp32; scale and zero point are scalars. Zero lies within the range, and a tensor of zeros
// or of no elements has scale 1.
struct DynamicCodes {
  at::Tensor codes, scale, zero_point;

  at::Tensor Reals() const { return at::mul(at::sub(codes, zero_point), scale); }
};

DynamicCodes CodesOfOwnRange(const at::Tensor& x);

}  // namespace ds::executor
