// LSQ's two loops over elements that share a step (lsq.h has the formulas). Plain C++ without
// LibTorch, so that it is compiled for vectors; results are the same for each instruction set and
// any vector length.
#pragma once

#include <cstdint>

namespace ds {

// Codes less the zero point, as floats: integers of magnitude below 2^22.
struct LsqBounds {
  float low, high;
};

// out = step * clamp(round(v / step)); NaN passes.
void LsqQuantize(const float* v, float* out, int64_t count, float step, LsqBounds bounds);

// Writes the gradient of v and returns the sum for the step, without its gradient scale.
double LsqDifferentiate(const float* v, const float* gradient, float* out, int64_t count,
                        float step, LsqBounds bounds);

}  // namespace ds
