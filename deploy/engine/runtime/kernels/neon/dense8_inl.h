// A matrix product of bytes whose results stay floats: sixteen channels at a time, row by row, for
// any set of products (products8_inl.h).
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/dense8_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/neon/floats_inl.h"

namespace ds::engine {
namespace {

template <typename Products>
struct SixteenSums {
  // Lane kLane of x: four codes, whose weights stand at `weights`.
  template <int kLane>
  [[gnu::always_inline]] void Step(const int8_t* weights, uint8x16_t x) {
    Unroll<4>([&](auto v) {
      const int8x16_t w = vld1q_s8(weights + v * 16);
      Products::template Add<kLane>(sums[v], w, x);
      if constexpr (Products::kFlips) fours[v] = Products::AddFours(fours[v], w);
    });
  }
  int32x4_t Total(int v) const {
    const int32x4_t total = Products::Total(sums[v]);
    return Products::kFlips ? vaddq_s32(total, vshlq_n_s32(fours[v], 7)) : total;
  }

  typename Products::Sum sums[4] = {};
  int32x4_t fours[4] = {};  // sums of the weights
};

template <typename Products>
SixteenSums<Products> SumSixteen(const uint8_t* row, const int8_t* weights, int64_t depth,
                                 int64_t step_bytes) {
  SixteenSums<Products> sums;
  const uint8x16_t flip = vdupq_n_u8(Products::kFlips ? 0x80 : 0);
  int64_t k = 0;
  for (; k + 16 <= depth; k += 16, weights += 4 * step_bytes) {
    const uint8x16_t x = veorq_u8(vld1q_u8(row + k), flip);
    Unroll<4>([&](auto lane) { sums.template Step<lane>(weights + lane * step_bytes, x); });
  }
  for (; k < depth; k += 4, weights += step_bytes) {
    uint32_t four;
    std::memcpy(&four, row + k, sizeof(four));
    sums.template Step<0>(weights, veorq_u8(vreinterpretq_u8_u32(vdupq_n_u32(four)), flip));
  }
  return sums;
}

template <typename Products>
void TiledDense8(const Dense8Args& args, Range rows, Range columns) {
  const int64_t depth = RoundUp(args.depth, 4);
  ForDensePanels(
      args, rows, columns, [&](int32_t row, int32_t column, int32_t count, const int8_t* weights) {
        const int64_t step_bytes = PanelWidth(args.columns - column) * 4;
        const auto* x = RowAt<uint8_t>(args.input, row);
        float* out = RowAt<float>(args.output, row) + column;
        for (int32_t c = 0; c < count; c += 16) {
          const auto sums = SumSixteen<Products>(x, weights + c * 4, depth, step_bytes);
          for (int32_t v = 0; v < 4 && c + v * 4 < count; ++v) {
            const int32_t at = c + v * 4, channel = column + at;
            const int32x4_t sum = vaddq_s32(sums.Total(v), vld1q_s32(args.bias + channel));
            const float32x4_t product =
                vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(args.scale + channel));
            Floats128::StoreSome(out + at, count - at,
                                 vaddq_f32(product, vld1q_f32(args.shift + channel)));
          }
        }
      });
}

}  // namespace
}  // namespace ds::engine
