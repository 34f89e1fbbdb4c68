// Products of bytes by the dot product of ARMv8.2 (sdot): four of the depth at once, exactly, for
// signed bytes. Codes are flipped, as neon/products8_inl.h says, rather than weights: udot would
// need either's sum too, and that of the weights does not change from row to row.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace ds::engine {
namespace {

struct DotProducts {
  static constexpr bool kFlips = true;
  static constexpr int32_t kRows = 8;

  using Sum = int32x4_t;
  static Sum Zero() { return vdupq_n_s32(0); }

  template <int kLane>
  [[gnu::always_inline]] static void Add(Sum& sum, int8x16_t w, uint8x16_t x) {
    sum = vdotq_laneq_s32(sum, w, vreinterpretq_s8_u8(x), kLane);
  }
  template <int kLane>
  [[gnu::always_inline]] static void AddEight(Sum& sum, int8x16_t w, int8x16_t next_w, uint8x16_t x,
                                              uint8x16_t next_x) {
    Add<kLane>(sum, w, x);
    Add<kLane>(sum, next_w, next_x);
  }
  // Four products of each of four channels.
  [[gnu::always_inline]] static int32x4_t AddChannels(int32x4_t sums, uint8x16_t x, int8x16_t w) {
    return vdotq_s32(sums, vreinterpretq_s8_u8(x), w);
  }

  static int32x4_t Total(Sum sum) { return sum; }
  static int32x4_t AddFours(int32x4_t sums, int8x16_t w) {
    return vdotq_s32(sums, w, vdupq_n_s8(1));
  }
};

}  // namespace
}  // namespace ds::engine
