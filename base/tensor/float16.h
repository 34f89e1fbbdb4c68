// IEEE binary16 and bfloat16 as plain storage types with conversions (round to nearest even). By
// hand, as CUDA kernels and the edge side compile them too; codecs have vector paths of their own.
#pragma once

#include <bit>
#include <cstdint>

#include "base/tensor/host_device.h"

namespace ds {

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  DS_HOST_DEVICE explicit BFloat16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    // A NaN must stay one: rounding could carry its mantissa away.
    bits = (u & 0x7fffffffu) > 0x7f800000u
               ? static_cast<uint16_t>((u >> 16) | 0x40u)
               : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  DS_HOST_DEVICE explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
};

struct Float16 {
  uint16_t bits = 0;
  Float16() = default;
  // By hand: _Float16 is not in every compiler for every processor (Clang 14 has none on x86).
  DS_HOST_DEVICE explicit Float16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {  // NaN: made quiet, what fits of its payload kept
      magnitude = 0x7e00u | ((magnitude >> 13) & 0x1ffu);
    } else if (magnitude >= 0x477ff000u) {  // 65520, half way above the largest, and more
      magnitude = 0x7c00u;
    } else if (magnitude < 0x38800000u) {
      // Below 2^-14 the result is subnormal. Beside 0.5 a float's last bit is worth 2^-24, as the
      // result's is: the addition rounds.
      const float rounded = std::bit_cast<float>(magnitude) + 0.5f;
      magnitude = std::bit_cast<uint32_t>(rounded) - std::bit_cast<uint32_t>(0.5f);
    } else {
      magnitude += 0xfffu + ((magnitude >> 13) & 1u);
      magnitude = (magnitude - 0x38000000u) >> 13;  // the exponent's bias: 127 becomes 15
    }
    bits = static_cast<uint16_t>(sign | magnitude);
  }
  DS_HOST_DEVICE explicit operator float() const {
    const uint32_t sign = (bits & 0x8000u) << 16;
    const uint32_t magnitude = bits & 0x7fffu;
    if (magnitude > 0x7c00u) return std::bit_cast<float>(sign | 0x7fc00000u | (magnitude << 13));
    if (magnitude == 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u);
    if (magnitude < 0x400u) {
      const float value = static_cast<float>(magnitude) * 0x1p-24f;
      return sign != 0 ? -value : value;
    }
    return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  }
};

}  // namespace ds
