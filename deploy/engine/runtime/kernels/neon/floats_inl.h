// Four floats, for generic/conv_f32_inl.h and generic/float_rows_inl.h.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace ds::engine {
namespace {

struct Floats128 {
  using Register = float32x4_t;
  static constexpr int32_t kWidth = 4;

  static float32x4_t Load(const float* from) { return vld1q_f32(from); }
  static float32x4_t LoadSome(const float* from, int32_t count) {
    if (count >= kWidth) return Load(from);
    float some[kWidth] = {};
    std::memcpy(some, from, static_cast<size_t>(count) * sizeof(float));
    return Load(some);
  }
  static void StoreSome(float* to, int32_t count, float32x4_t value) {
    if (count >= kWidth) return vst1q_f32(to, value);
    float some[kWidth];
    vst1q_f32(some, value);
    std::memcpy(to, some, static_cast<size_t>(count) * sizeof(float));
  }
  static float32x4_t Every(float value) { return vdupq_n_f32(value); }
  static float32x4_t MultiplyAdd(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmaq_f32(c, a, b);
  }
  // Lane kLane of a, times b.
  template <int kLane>
  static float32x4_t MultiplyAddLane(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmaq_laneq_f32(c, b, a, kLane);
  }
  static float32x4_t Add(float32x4_t a, float32x4_t b) { return vaddq_f32(a, b); }
  static float32x4_t Subtract(float32x4_t a, float32x4_t b) { return vsubq_f32(a, b); }
  static float32x4_t Multiply(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
  static float32x4_t Divide(float32x4_t a, float32x4_t b) { return vdivq_f32(a, b); }
  // Of a number and not a number: the number.
  static float32x4_t Max(float32x4_t a, float32x4_t b) { return vmaxnmq_f32(a, b); }
  static float32x4_t Min(float32x4_t a, float32x4_t b) { return vminnmq_f32(a, b); }
  static float32x4_t Round(float32x4_t a) { return vrndnq_f32(a); }
  // a * 2^n, for whole n that leave the result a normal number.
  static float32x4_t PowerOfTwo(float32x4_t a, float32x4_t n) {
    const int32x4_t exponent = vshlq_n_s32(vcvtnq_s32_f32(n), 23);
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent));
  }
};

}  // namespace
}  // namespace ds::engine
