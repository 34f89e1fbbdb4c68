// A tile of sums of byte products, rows four by four: the way of the sets whose instructions take
// four of the depth (NeonProducts, and the dot product's).
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kQuad = 4;  // rows

// Two halves of the bytes are one vector each: weights k to k + 3 and k + 4 to k + 7.
struct Nibbles {
  explicit Nibbles(int8x16_t packed)
      : low(vshrq_n_s8(vshlq_n_s8(packed, 4), 4)), high(vshrq_n_s8(packed, 4)) {}
  int8x16_t low, high;
};

template <typename Products>
struct Quads {
  static constexpr int32_t kRows = Products::kRows;
  static constexpr bool kFlips = Products::kFlips;

  // Bytes of a tile's rows for a depth of whole fours.
  static constexpr int64_t TileBytes(int64_t depth) { return RoundUp(kRows, kQuad) * depth; }

  static uint8x16_t Code(uint8x16_t x) {
    return Products::kFlips ? veorq_u8(x, vdupq_n_u8(0x80)) : x;
  }

  // A tile's rows side by side: of four rows, four of the depth after another. Where rows are
  // missing, others stand for them.
  static void Arrange(const Tile<uint8_t>& tile, int64_t depth, uint8_t* to) {
    for (int32_t first = 0; first < tile.count; first += kQuad, to += kQuad * depth) {
      uint8_t* quad = to;
      for (int32_t tap = 0; tap < tile.taps; ++tap) {
        const uint8_t* rows[kQuad];
        for (int32_t r = 0; r < kQuad; ++r)
          rows[r] = tile.rows[tap * kTilePointers + std::min(first + r, tile.count - 1)];
        quad = ArrangeRun(rows, tile.run, quad);
      }
    }
  }

  // One run of four rows; returns its end.
  static uint8_t* ArrangeRun(const uint8_t* const (&rows)[kQuad], int32_t run, uint8_t* to) {
    int32_t k = 0;
    for (; k + 16 <= run; k += 16, to += 64) {
      uint32x4x4_t x;
      for (int r = 0; r < kQuad; ++r) x.val[r] = vreinterpretq_u32_u8(Code(vld1q_u8(rows[r] + k)));
      vst4q_u32(reinterpret_cast<uint32_t*>(to), x);
    }
    for (; k < run; k += 4, to += 16) {
      uint8_t x[16];
      for (int r = 0; r < kQuad; ++r) std::memcpy(x + 4 * r, rows[r] + k, 4);
      vst1q_u8(to, Code(vld1q_u8(x)));
    }
    return to;
  }

  // The sums of kCount rows and eight channels.
  template <int kCount, bool kFourBits>
  [[gnu::always_inline]] static void Multiply(const uint8_t* rows, int64_t depth,
                                              const int8_t* weights, int64_t step_bytes,
                                              int32x4_t (&totals)[kCount][2]) {
    constexpr int kQuads = (kCount + kQuad - 1) / kQuad;
    typename Products::Sum sums[kCount][2];
    Unroll<kCount>([&](auto r) { sums[r][0] = sums[r][1] = Products::Zero(); });
    constexpr int kStep = kFourBits ? 8 : 4;
    for (int64_t k = 0; k < depth; k += kStep, rows += kStep * kQuad, weights += step_bytes) {
      uint8x16_t x[kQuads], next_x[kQuads];
      Unroll<kQuads>([&](auto q) {
        x[q] = vld1q_u8(rows + q * kQuad * depth);
        if constexpr (kFourBits) next_x[q] = vld1q_u8(rows + q * kQuad * depth + 16);
      });
      Unroll<2>([&](auto v) {
        const int8x16_t w = vld1q_s8(weights + v * 16);
        const Nibbles nibbles(w);
        Unroll<kCount>([&](auto r) {
          constexpr int kLane = r % kQuad, kOf = r / kQuad;
          if constexpr (kFourBits) {
            Products::template AddEight<kLane>(sums[r][v], nibbles.low, nibbles.high, x[kOf],
                                               next_x[kOf]);
          } else {
            Products::template Add<kLane>(sums[r][v], w, x[kOf]);
          }
        });
      });
    }
    Unroll<kCount>(
        [&](auto r) { Unroll<2>([&](auto v) { totals[r][v] = Products::Total(sums[r][v]); }); });
  }

  // bias + 128 * (sum of its weights) for each channel of a panel, which undoes what flipping did.
  template <bool kFourBits>
  static void CorrectBias(const int8_t* weights, int64_t depth, int32_t panel, const int32_t* bias,
                          int32_t* corrected) {
    const int64_t step_bytes = panel * 4;
    for (int32_t c = 0; c < panel; c += 16, weights += 64) {
      int32x4_t sums[4];
      Unroll<4>([&](auto v) { sums[v] = vdupq_n_s32(0); });
      const int8_t* from = weights;
      for (int64_t k = 0; k < depth; k += kFourBits ? 8 : 4, from += step_bytes) {
        Unroll<4>([&](auto v) {
          const int8x16_t w = vld1q_s8(from + v * 16);
          if constexpr (kFourBits) {
            const Nibbles nibbles(w);
            sums[v] = Products::AddFours(sums[v], vaddq_s8(nibbles.low, nibbles.high));
          } else {
            sums[v] = Products::AddFours(sums[v], w);
          }
        });
      }
      Unroll<4>([&](auto v) {
        const int32x4_t more = vshlq_n_s32(sums[v], 7);
        vst1q_s32(corrected + c + v * 4, vaddq_s32(vld1q_s32(bias + c + v * 4), more));
      });
    }
  }
};

}  // namespace
}  // namespace ds::engine
