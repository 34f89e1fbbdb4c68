// Activations of floats.
#pragma once

#include <cmath>
#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

inline float Clamp(float value, float low, float high) {
  value = value > low ? value : low;
  return value < high ? value : high;
}

template <typename Function>
void Map(const float* in, int32_t count, float* out, Function function) {
  for (int32_t i = 0; i < count; ++i) out[i] = function(in[i]);
}

inline float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }
inline float HardSigmoid(float x) { return Clamp(x * (1.0f / 6) + 0.5f, 0, 1); }

inline void ActivateRow(const Activate& how, const float* in, int32_t count, float* out) {
  switch (how.kind) {
    case Activation::kNone:
      return Map(in, count, out, [](float x) { return x; });
    case Activation::kClamp:
      return Map(in, count, out,
                 [low = how.low, high = how.high](float x) { return Clamp(x, low, high); });
    case Activation::kSigmoid:
      return Map(in, count, out, Sigmoid);
    case Activation::kSilu:
      return Map(in, count, out, [](float x) { return x * Sigmoid(x); });
    case Activation::kHardSigmoid:
      return Map(in, count, out, HardSigmoid);
    case Activation::kHardSwish:
      return Map(in, count, out, [](float x) { return x * HardSigmoid(x); });
    case Activation::kTanh:
      return Map(in, count, out, [](float x) { return std::tanh(x); });
    case Activation::kGelu:
      return Map(in, count, out,
                 [](float x) { return 0.5f * x * (1.0f + std::erf(x * 0x1.6a09e6p-1f)); });
    case Activation::kLeakyRelu:
      return Map(in, count, out, [slope = how.low](float x) { return x < 0 ? slope * x : x; });
  }
}

}  // namespace
}  // namespace ds::engine
