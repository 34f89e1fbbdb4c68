// Products of bytes by the matrix extension of ARMv8.6 (i8mm), which takes unsigned codes and
// signed weights as they are: in fours (usdot, sudot), and as products of matrices of 2 x 8 by 8 x
// 2 (usmmla), twice the work of a dot product. The packed weights serve: of two steps of the depth,
// interleaving fours of bytes gives each channel's eight.
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/neon/quads8_inl.h"

namespace ds::engine {
namespace {

struct MatrixProducts {
  static constexpr bool kFlips = false;

  using Sum = int32x4_t;
  static Sum Zero() { return vdupq_n_s32(0); }

  template <int kLane>
  [[gnu::always_inline]] static void Add(Sum& sum, int8x16_t w, uint8x16_t x) {
    sum = vsudotq_laneq_s32(sum, w, x, kLane);
  }
  [[gnu::always_inline]] static int32x4_t AddChannels(int32x4_t sums, uint8x16_t x, int8x16_t w) {
    return vusdotq_s32(sums, x, w);
  }
  static int32x4_t Total(Sum sum) { return sum; }
};

// A tile for neon/conv8_inl.h: rows two by two.
struct MatrixTiles {
  static constexpr bool kFlips = false;
  static constexpr int32_t kRows = 12;

  static constexpr int64_t TileBytes(int64_t depth) { return kRows * RoundUp(depth, 8); }

  // Of two rows, eight of the depth after another; zeros behind the depth. A row that is missing is
  // another.
  static void Arrange(const Tile<uint8_t>& tile, int64_t depth, uint8_t* to) {
    const int64_t pair_bytes = 2 * RoundUp(depth, 8);
    for (int32_t r = 0; r < tile.count; r += 2, to += pair_bytes) {
      const int32_t second = std::min(r + 1, tile.count - 1);
      if (depth % 8) std::memset(to + pair_bytes - 16, 0, 16);
      int64_t k = 0;
      for (int32_t tap = 0; tap < tile.taps; ++tap, k += tile.run) {
        const uint8_t* const* rows = tile.rows + tap * kTilePointers;
        ArrangeRun(rows[r], rows[second], tile.run, k, to);
      }
    }
  }

  // A run of two rows, whose place in the depth is k.
  static void ArrangeRun(const uint8_t* a, const uint8_t* b, int32_t run, int64_t k, uint8_t* to) {
    int32_t i = 0;
    if (k % 8 == 0) {
      for (; i + 16 <= run; i += 16) {
        const uint64x2_t x = vreinterpretq_u64_u8(vld1q_u8(a + i));
        const uint64x2_t y = vreinterpretq_u64_u8(vld1q_u8(b + i));
        vst1q_u8(to + 2 * (k + i), vreinterpretq_u8_u64(vzip1q_u64(x, y)));
        vst1q_u8(to + 2 * (k + i) + 16, vreinterpretq_u8_u64(vzip2q_u64(x, y)));
      }
    }
    for (; i < run; i += 4) {
      uint8_t* four = to + (k + i) / 8 * 16 + (k + i) % 8;
      std::memcpy(four, a + i, 4);
      std::memcpy(four + 8, b + i, 4);
    }
  }

  // Weights of four channels as two matrices of two channels by eight of the depth.
  struct Matrices {
    Matrices(int8x16_t w, int8x16_t next_w) {
      const int32x4_t a = vreinterpretq_s32_s8(w), b = vreinterpretq_s32_s8(next_w);
      first = vreinterpretq_s8_s32(vzip1q_s32(a, b));
      second = vreinterpretq_s8_s32(vzip2q_s32(a, b));
    }
    int8x16_t first, second;
  };

  // Eight of the depth and four channels, times all pairs of rows.
  template <int kPairs>
  [[gnu::always_inline]] static void AddMatrices(const Matrices& w, const uint8_t* rows,
                                                 int64_t pair_bytes, int32x4_t (&sums)[kPairs][2]) {
    Unroll<kPairs>([&](auto p) {
      const uint8x16_t x = vld1q_u8(rows + p * pair_bytes);
      int32x4_t first = vusmmlaq_s32(sums[p][0], x, w.first);
      int32x4_t second = vusmmlaq_s32(sums[p][1], x, w.second);
      // One pair after another: GCC 12 would load all rows first, and have no registers for sums.
      asm volatile("" : "+w"(first), "+w"(second));
      sums[p][0] = first, sums[p][1] = second;
    });
  }

  template <int kCount, bool kFourBits>
  [[gnu::always_inline]] static void Multiply(const uint8_t* rows, int64_t depth,
                                              const int8_t* weights, int64_t step_bytes,
                                              int32x4_t (&totals)[kCount][2]) {
    constexpr int kPairs = (kCount + 1) / 2;
    const int64_t pair_bytes = 2 * RoundUp(depth, 8);
    // Two rows by two channels each: [channels 4v to 4v + 3][pair][which two of them].
    int32x4_t sums[2][kPairs][2];
    Unroll<2>([&](auto v) {
      Unroll<kPairs>([&](auto p) { sums[v][p][0] = sums[v][p][1] = vdupq_n_s32(0); });
    });
    int64_t k = 0;
    for (; k + 8 <= depth; k += 8, rows += 16, weights += (kFourBits ? 1 : 2) * step_bytes) {
      Unroll<2>([&](auto v) {
        const int8x16_t w = vld1q_s8(weights + v * 16);
        if constexpr (kFourBits) {
          const Nibbles nibbles(w);
          AddMatrices<kPairs>({nibbles.low, nibbles.high}, rows, pair_bytes, sums[v]);
        } else {
          AddMatrices<kPairs>({w, vld1q_s8(weights + step_bytes + v * 16)}, rows, pair_bytes,
                              sums[v]);
        }
      });
    }
    if (k < depth) {
      Unroll<2>([&](auto v) {
        AddMatrices<kPairs>({vld1q_s8(weights + v * 16), vdupq_n_s8(0)}, rows, pair_bytes, sums[v]);
      });
    }
    Unroll<kCount>([&](auto r) {
      Unroll<2>([&](auto v) {
        const int64x2_t a = vreinterpretq_s64_s32(sums[v][r / 2][0]);
        const int64x2_t b = vreinterpretq_s64_s32(sums[v][r / 2][1]);
        totals[r][v] = vreinterpretq_s32_s64(r % 2 ? vzip2q_s64(a, b) : vzip1q_s64(a, b));
      });
    });
  }
};

}  // namespace
}  // namespace ds::engine
