// From sums to bytes; see Requantise and Add8 in args.h.
#pragma once

#include <bit>
#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

// Rounds to nearest, ties to even, where |value| < 2^22: adding 1.5 * 2^23 leaves the integer in
// the low bits.
inline int32_t RoundSmall(float value) {
  return std::bit_cast<int32_t>(value + 0x1.8p23f) - std::bit_cast<int32_t>(0x1.8p23f);
}

// clamp(rne(value) + zero_point, low, high): bounds are integers, so clamping first changes nothing
// but that the conversion cannot leave its range. Not a number gives `low`.
struct ToByte {
  ToByte(int32_t zero_point, int32_t low, int32_t high)
      : low_(static_cast<float>(low - zero_point)),
        high_(static_cast<float>(high - zero_point)),
        zero_(zero_point) {}

  uint8_t operator()(float value) const {
    value = value > low_ ? value : low_;
    value = value < high_ ? value : high_;
    return static_cast<uint8_t>(RoundSmall(value) + zero_);
  }

 private:
  float low_, high_;
  int32_t zero_;
};

inline void LookupRow(const uint8_t* table, const uint8_t* in, int32_t count, uint8_t* out) {
  for (int32_t i = 0; i < count; ++i) out[i] = table[in[i]];
}

inline void AddRow(const Add8& add, const uint8_t* a, const uint8_t* b, int32_t count,
                   uint8_t* out) {
  const ToByte to_byte(add.zero_point, add.low, add.high);
  for (int32_t i = 0; i < count; ++i) {
    const float x = static_cast<float>(a[i] - add.zero_a) * add.ratio_a;
    const float y = static_cast<float>(b[i] - add.zero_b) * add.ratio_b;
    out[i] = to_byte(x + y);
  }
  if (add.table) LookupRow(add.table, out, count, out);
}

// Sums are int32 in two's complement.
inline void RequantiseRow(const Requantise& how, const uint32_t* sums, const float* multiplier,
                          int32_t count, uint8_t* out) {
  const ToByte to_byte(how.zero_point, how.low, how.high);
  for (int32_t i = 0; i < count; ++i)
    out[i] = to_byte(static_cast<float>(static_cast<int32_t>(sums[i])) * multiplier[i]);
}

}  // namespace
}  // namespace ds::engine
