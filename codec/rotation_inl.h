// The kernels of the randomised Hadamard rotation. Included by codec_kernels_inl.h only.
#include <utility>

#include "codec/few_inl.h"
#include "codec/kernels.h"

namespace ds::lowbit {
namespace {

// Lane i meets lane i ^ kStride: a + b in the lower one, a - b in the upper.
template <int kStride, int... kLane>
inline F ButterflyWithin(F values, std::integer_sequence<int, kLane...>) {
  const U32 upper = {((kLane & kStride) != 0 ? 0x80000000u : 0u)...};
  const F partners = __builtin_shufflevector(values, values, (kLane ^ kStride)...);
  return partners + As<F>(As<U32>(values) ^ upper);
}

template <int kStride = 1>
inline F ButterfliesWithin(F values) {
  if constexpr (kStride < kLanes) {
    return ButterfliesWithin<kStride * 2>(
        ButterflyWithin<kStride>(values, std::make_integer_sequence<int, kLanes>()));
  }
  return values;
}

// One stage, or two at once where two are left.
inline void Stages(float* values, int64_t count) {
  int64_t stride = kLanes;
  for (; 2 * stride < count; stride *= 4) {
    for (int64_t start = 0; start < count; start += 4 * stride) {
      for (float* at = values + start; at < values + start + stride; at += kLanes) {
        const F a = Load<F>(at), b = Load<F>(at + stride), c = Load<F>(at + 2 * stride),
                d = Load<F>(at + 3 * stride);
        const F ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        Store(at, ab + cd);
        Store(at + stride, a_b + c_d);
        Store(at + 2 * stride, ab - cd);
        Store(at + 3 * stride, a_b - c_d);
      }
    }
  }
  if (stride >= count) return;
  for (float* at = values; at < values + stride; at += kLanes) {
    const F a = Load<F>(at), b = Load<F>(at + stride);
    Store(at, a + b);
    Store(at + stride, a - b);
  }
}

void Hadamard(float* values, int64_t count) {
  if (count < kLanes) return HadamardOfFew(values, count);
  for (int64_t i = 0; i < count; i += kLanes)
    Store(values + i, ButterfliesWithin(Load<F>(values + i)));
  Stages(values, count);
}

template <int... kLane>
inline U32 LaneNumbers(std::integer_sequence<int, kLane...>) {
  return U32{static_cast<uint32_t>(kLane)...};
}

void Flip(float* values, int64_t count, float scale, const NoiseStream& noise,
          uint64_t first_element) {
  const U32 lanes = LaneNumbers(std::make_integer_sequence<int, kLanes>());
  int64_t i = 0;
  PhiloxBlock block = {};
  for (; i < count; ++i) {
    const uint64_t element = first_element + static_cast<uint64_t>(i);
    const uint32_t place = static_cast<uint32_t>(element % kSignsOfBlock);
    if (i == 0 || place == 0) block = NoiseBlock(noise, element / kSignsOfBlock);
    const uint32_t word = block.word[place / 32];
    if (place % kLanes == 0 && count - i >= kLanes) {
      const U32 flips = ((word >> (place % 32)) >> lanes) << 31;
      Store(values + i, As<F>(As<U32>(Load<F>(values + i) * scale) ^ flips));
      i += kLanes - 1;
    } else {
      values[i] = WithSign(Multiply(values[i], scale), (word >> (place % 32)) & 1);
    }
  }
}

}  // namespace
}  // namespace ds::lowbit
