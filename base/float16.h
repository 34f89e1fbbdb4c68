// IEEE binary16 and bfloat16 as plain storage types with conversions (round to nearest even). Scalar; the codecs
// have vector paths of their own.
#pragma once

#include <bit>
#include <cstdint>

namespace ds {

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    // A NaN must stay one: rounding could carry its mantissa away.
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40u)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  explicit Float16(float value) {
    const _Float16 half = static_cast<_Float16>(value);
    bits = std::bit_cast<uint16_t>(half);
  }
  explicit operator float() const { return static_cast<float>(std::bit_cast<_Float16>(bits)); }
};

}  // namespace ds
