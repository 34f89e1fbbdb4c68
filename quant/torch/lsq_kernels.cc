#include "quant/torch/lsq_kernels.h"

// One body for each instruction set, chosen when the program is loaded. Clang 14 has no such thing
// for C++.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DS_FOR_EACH_SET __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DS_FOR_EACH_SET
#endif

namespace ds {
namespace {

// Running sums side by side: what the longest vectors need, and less rounding.
constexpr int kLanes = 16;
// Adding and subtracting 1.5 * 2^23 rounds to an integer, half to even, for magnitudes below 2^22.
constexpr float kRounder = 12582912.0f;

// Clamped before it is rounded: the bounds are integers, so it is the same; and NaN passes.
inline __attribute__((always_inline)) float Nearest(float u, LsqBounds bounds) {
  const float above = u < bounds.low ? bounds.low : u;
  const float clamped = bounds.high < above ? bounds.high : above;
  return (clamped + kRounder) - kRounder;
}

// The gradient of one element's step, and whether that of its value passes.
struct Slope {
  float step, pass;
};

inline __attribute__((always_inline)) Slope SlopeAt(float u, LsqBounds bounds) {
  const float outside = (u <= bounds.low ? 1.0f : 0.0f) + (u >= bounds.high ? 1.0f : 0.0f);
  const float nearest = Nearest(u, bounds);
  // Outside, the nearest is the bound: the value counts inside only.
  return {outside > 0 ? nearest : nearest - u, 1.0f - outside};
}

}  // namespace

// Loops over a fixed number of lanes are what compilers make vectors of.
DS_FOR_EACH_SET void LsqQuantize(const float* __restrict v, float* __restrict out, int64_t count,
                                 float step, LsqBounds bounds) {
  for (int64_t i = 0; i < count; ++i) out[i] = Nearest(v[i] / step, bounds) * step;
}

DS_FOR_EACH_SET double LsqDifferentiate(const float* __restrict v, const float* __restrict gradient,
                                        float* __restrict out, int64_t count, float step,
                                        LsqBounds bounds) {
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float g = gradient[i + lane];
      const Slope slope = SlopeAt(v[i + lane] / step, bounds);
      out[i + lane] = slope.pass * g;
      sums[lane] += slope.step * g;
    }
  }
  double sum = 0;
  for (const float lane : sums) sum += static_cast<double>(lane);
  for (; i < count; ++i) {
    const Slope slope = SlopeAt(v[i] / step, bounds);
    out[i] = slope.pass * gradient[i];
    sum += static_cast<double>(slope.step) * static_cast<double>(gradient[i]);
  }
  return sum;
}

}  // namespace ds
