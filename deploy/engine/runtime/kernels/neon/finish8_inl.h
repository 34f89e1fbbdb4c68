// From sums to bytes by NEON; the same bits as generic/requantise_inl.h. Shared, like all of this
// folder but its source, by the sets that build on NEON (neondot/, neoni8mm/).
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

// The first `count` of a vector's bytes; the rest are zeros.
inline uint8x16_t LoadSome(const uint8_t* from, int32_t count) {
  if (count >= 16) return vld1q_u8(from);
  uint8_t some[16] = {};
  std::memcpy(some, from, static_cast<size_t>(count));
  return vld1q_u8(some);
}

inline void StoreSome(uint8_t* to, int32_t count, uint8x16_t bytes) {
  if (count >= 16) return vst1q_u8(to, bytes);
  uint8_t some[16];
  vst1q_u8(some, bytes);
  std::memcpy(to, some, static_cast<size_t>(count));
}

inline void StoreSome(uint8_t* to, int32_t count, uint8x8_t bytes) {
  if (count >= 8) return vst1_u8(to, bytes);
  const uint64_t some = vget_lane_u64(vreinterpret_u64_u8(bytes), 0);
  std::memcpy(to, &some, static_cast<size_t>(count));
}

// ToByte for vectors.
struct ToBytes {
  ToBytes(int32_t zero_point, int32_t low_code, int32_t high_code)
      : low(vdupq_n_f32(static_cast<float>(low_code - zero_point))),
        high(vdupq_n_f32(static_cast<float>(high_code - zero_point))),
        zero(vdupq_n_s32(zero_point)) {}

  // Codes as 32 bits. Of a number and not a number, vmaxnm takes the number: `low`.
  [[gnu::always_inline]] int32x4_t Codes(float32x4_t value) const {
    const float32x4_t clamped = vminnmq_f32(vmaxnmq_f32(value, low), high);
    return vaddq_s32(vcvtnq_s32_f32(clamped), zero);
  }
  [[gnu::always_inline]] uint8x8_t operator()(float32x4_t a, float32x4_t b) const {
    const int16x8_t words = vcombine_s16(vmovn_s32(Codes(a)), vmovn_s32(Codes(b)));
    return vmovn_u16(vreinterpretq_u16_s16(words));
  }
  [[gnu::always_inline]] uint8x16_t operator()(const float32x4x4_t& v) const {
    return vcombine_u8((*this)(v.val[0], v.val[1]), (*this)(v.val[2], v.val[3]));
  }

  float32x4_t low, high;
  int32x4_t zero;
};

// bytes - zero, as 16 bits.
[[gnu::always_inline]] inline int16x8x2_t Centred(uint8x16_t bytes, int16x8_t zero) {
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
  return {
      {vsubq_s16(vreinterpretq_s16_u16(low), zero), vsubq_s16(vreinterpretq_s16_u16(high), zero)}};
}

[[gnu::always_inline]] inline float32x4x4_t ToFloats(const int16x8x2_t& words) {
  float32x4x4_t floats;
  for (int i = 0; i < 2; ++i) {
    floats.val[2 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(words.val[i])));
    floats.val[2 * i + 1] = vcvtq_f32_s32(vmovl_high_s16(words.val[i]));
  }
  return floats;
}

[[gnu::always_inline]] inline float32x4x4_t Scaled(float32x4x4_t values, float32x4_t factor) {
  for (float32x4_t& value : values.val) value = vmulq_f32(value, factor);
  return values;
}

// Stores to_bytes(values(first, count)) for sixteen elements after another, the last time for
// fewer.
template <typename Values>
[[gnu::always_inline]] inline void StoreRow(const ToBytes& to_bytes, int32_t count, uint8_t* out,
                                            Values values) {
  int32_t at = 0;
  for (; at + 16 <= count; at += 16) vst1q_u8(out + at, to_bytes(values(at, 16)));
  if (at < count) StoreSome(out + at, count - at, to_bytes(values(at, count - at)));
}

// A table of 256 codes in sixteen registers.
class CodeTable {
 public:
  explicit CodeTable(const uint8_t* table) {
    for (int i = 0; i < 4; ++i) quarters_[i] = vld1q_u8_x4(table + 64 * i);
  }
  // An index beyond its quarter leaves what stands there.
  uint8x16_t operator()(uint8x16_t codes) const {
    uint8x16_t found = vqtbl4q_u8(quarters_[0], codes);
    for (int i = 1; i < 4; ++i) {
      codes = vsubq_u8(codes, vdupq_n_u8(64));
      found = vqtbx4q_u8(found, quarters_[i], codes);
    }
    return found;
  }
  void Row(const uint8_t* in, int32_t count, uint8_t* out) const {
    int32_t at = 0;
    for (; at + 16 <= count; at += 16) vst1q_u8(out + at, (*this)(vld1q_u8(in + at)));
    if (at < count) StoreSome(out + at, count - at, (*this)(LoadSome(in + at, count - at)));
  }

 private:
  uint8x16x4_t quarters_[4];
};

// Sums of codes, row by row; not the table that may follow.
class Adder {
 public:
  explicit Adder(const Add8& add)
      : to_bytes_(add.zero_point, add.low, add.high),
        ratio_a_(vdupq_n_f32(add.ratio_a)),
        ratio_b_(vdupq_n_f32(add.ratio_b)),
        zero_a_(vdupq_n_s16(static_cast<int16_t>(add.zero_a))),
        zero_b_(vdupq_n_s16(static_cast<int16_t>(add.zero_b))) {}

  void Row(const uint8_t* a, const uint8_t* b, int32_t count, uint8_t* out) const {
    StoreRow(to_bytes_, count, out, [&](int32_t at, int32_t some) {
      float32x4x4_t x = Scaled(ToFloats(Centred(LoadSome(a + at, some), zero_a_)), ratio_a_);
      const float32x4x4_t y = Scaled(ToFloats(Centred(LoadSome(b + at, some), zero_b_)), ratio_b_);
      for (int i = 0; i < 4; ++i) x.val[i] = vaddq_f32(x.val[i], y.val[i]);
      return x;
    });
  }

 private:
  ToBytes to_bytes_;
  float32x4_t ratio_a_, ratio_b_;
  int16x8_t zero_a_, zero_b_;
};

// What stands behind requantisation: `count` channels of `rows` pixels that were stored; out(r) and
// residual(r) are their first channels' places.
template <typename Out, typename Residual>
void FollowStores(const Requantise& how, int32_t rows, int32_t count, Out out, Residual residual) {
  if (how.table) {
    const CodeTable table(how.table);
    for (int32_t r = 0; r < rows; ++r) table.Row(out(r), count, out(r));
  }
  if (!how.add) return;
  const Adder adder(*how.add);
  for (int32_t r = 0; r < rows; ++r) adder.Row(out(r), residual(r), count, out(r));
  if (how.add->table) {
    const CodeTable table(how.add->table);
    for (int32_t r = 0; r < rows; ++r) table.Row(out(r), count, out(r));
  }
}

}  // namespace
}  // namespace ds::engine
