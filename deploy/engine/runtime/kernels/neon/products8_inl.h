// Products of bytes by NEON of ARMv8.0, which knows no dot product: bytes by bytes give 16 bits
// (smull), neighbours are added into 32 (sadalp). That is exact only for signed bytes, so that
// whoever calls flips the codes' upper bits (x - 128, signed) and adds 128 times the weights' sum.
//
// Each set of products has Sum, the sums of four channels; Add<kLane>() for four of the depth,
// AddEight<kLane>() for eight of four-bit weights; kFlips, whether codes are to be flipped; and
// AddFours(), by which weights themselves are summed.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace ds::engine {
namespace {

struct NeonProducts {
  static constexpr bool kFlips = true;
  static constexpr int32_t kRows = 6;  // of a tile

  // For each of four channels: of even and of odd pairs, two channels a vector.
  struct Sum {
    int32x4_t low, high;
  };
  static Sum Zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }

  // One row after another: GCC 12 would compute all products first, and have no registers for sums.
  [[gnu::always_inline]] static void Settle(int32x4_t low, int32x4_t high, Sum& sum) {
    asm volatile("" : "+w"(low), "+w"(high));
    sum.low = low, sum.high = high;
  }

  template <int kLane>
  static int8x16_t Every(uint8x16_t x) {
    return vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_u8(x), kLane));
  }

  // w: four weights of each of four channels; x: four rows' four codes, of which row kLane's count.
  template <int kLane>
  [[gnu::always_inline]] static void Add(Sum& sum, int8x16_t w, uint8x16_t x) {
    const int8x16_t row = Every<kLane>(x);
    const int32x4_t low_sum = vpadalq_s16(sum.low, vmull_s8(vget_low_s8(w), vget_low_s8(row)));
    const int32x4_t high_sum = vpadalq_s16(sum.high, vmull_high_s8(w, row));
    Settle(low_sum, high_sum, sum);
  }

  // Two products of four-bit weights fit 16 bits.
  template <int kLane>
  [[gnu::always_inline]] static void AddEight(Sum& sum, int8x16_t w, int8x16_t next_w, uint8x16_t x,
                                              uint8x16_t next_x) {
    const int8x16_t row = Every<kLane>(x), next = Every<kLane>(next_x);
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(row));
    const int16x8_t high = vmull_high_s8(w, row);
    const int32x4_t low_sum =
        vpadalq_s16(sum.low, vmlal_s8(low, vget_low_s8(next_w), vget_low_s8(next)));
    const int32x4_t high_sum = vpadalq_s16(sum.high, vmlal_high_s8(high, next_w, next));
    Settle(low_sum, high_sum, sum);
  }

  static int32x4_t Total(const Sum& sum) { return vpaddq_s32(sum.low, sum.high); }

  static int32x4_t AddFours(int32x4_t sums, int8x16_t w) {
    return vpadalq_s16(sums, vpaddlq_s8(w));
  }
};

}  // namespace
}  // namespace ds::engine
