// The one rounding that all of this project's quantisers share. Internal to quant/ and the
// executor. Sources that loop over it are compiled with -fno-trapping-math -O3: it then becomes
// vector instructions on every machine.
#pragma once

#include <bit>
#include <cstdint>

namespace ds {

// 1.5 * 2^23: added to a float of magnitude below 2^22 it leaves the nearest integer, ties to even,
// in the low bits of the sum. Unlike nearbyint it becomes one vector instruction everywhere.
inline constexpr float kRoundingShift = 12582912.0f;
inline constexpr int32_t kRoundingShiftBits = 0x4B400000;

inline int32_t RoundHalfToEven(float value) {
  return std::bit_cast<int32_t>(value + kRoundingShift) - kRoundingShiftBits;
}

// round(value / scale), clamped to [low, high] (integers of magnitude below 2^22): the code less
// its zero point; NaN gives 0. Clamping first is the same as clamping what was rounded, and keeps
// RoundHalfToEven within its range.
inline int32_t QuantSteps(float value, float scale, float low, float high) {
  float steps = value / scale;
  steps = steps == steps ? steps : 0.0f;
  steps = steps < low ? low : steps;
  steps = steps > high ? high : steps;
  return RoundHalfToEven(steps);
}

}  // namespace ds
