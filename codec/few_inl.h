// What the scalar reference does to all values, and the vector kernels to those that fill no
// vector. Included by both; local to each source file, as kernels_inl.h says.
#pragma once

#include <cstring>

#include "codec/codec_math.h"

namespace ds::lowbit {
namespace {

void HadamardOfFew(float* values, int64_t count) {
  for (int64_t stride = 1; stride < count; stride *= 2) {
    for (int64_t i = 0; i < count; ++i) {
      if ((i & stride) != 0) continue;
      const float a = values[i], b = values[i + stride];
      values[i] = Add(a, b);
      values[i + stride] = Add(a, -b);
    }
  }
}

// `in`: fp32 in bytes, aligned or not.
void AddFewFloat32(const uint8_t* in, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i) {
    float value;
    std::memcpy(&value, in + 4 * i, sizeof(value));
    values[i] = Add(values[i], value);
  }
}

}  // namespace
}  // namespace ds::lowbit
