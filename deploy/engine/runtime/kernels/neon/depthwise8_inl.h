// Depthwise convolution of bytes by NEON of ARMv8.0: sixteen channels at a time, tap by tap, codes
// and weights widened to 16 bits. Weights are widened once for all rows; beside each other, four
// outputs share them.
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/neon/finish8_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kSixteen = 16;  // channels
constexpr int32_t kMostTaps = 128;
constexpr int32_t kBeside = 4;  // outputs

inline bool FewTaps(const ConvShape& shape) {
  return int64_t{shape.kernel_h} * shape.kernel_w <= kMostTaps;
}

inline int64_t NeonDepthwiseScratch(const ConvShape& shape) {
  return FewTaps(shape) ? RoundUp(int64_t{shape.kernel_h} * shape.kernel_w * kSixteen * 2, 64) : 0;
}

// Sixteen channels of packed weights (layout.h), as bytes: `columns` has, for each kernel_x and
// each four of kernel_y, 64 bytes, a channel's four adjacent.
template <typename Each>
void ForFourRows(const ConvShape& shape, const void* packed, int32_t first, Each each) {
  const int64_t block = first / static_cast<int32_t>(kDepthwiseBlock);
  const int32_t lane = first % static_cast<int32_t>(kDepthwiseBlock) / kSixteen;
  const auto* from =
      static_cast<const int8_t*>(packed) + block * DepthwiseBlockBytes(shape) + lane * kSixteen;
  for (int32_t kx = 0; kx < shape.kernel_w; ++kx) {
    for (int32_t group = 0; group < RowGroups(shape); ++group, from += 4 * kDepthwiseBlock) {
      int8x16x4_t four;
      for (int v = 0; v < 4; ++v) four.val[v] = vld1q_s8(from + v * kDepthwiseBlock);
      each(kx, group, four);
    }
  }
}

// [tap][channel]
inline void WidenTaps(const ConvShape& shape, const void* packed, int32_t first, int16_t* wide) {
  ForFourRows(shape, packed, first, [&](int32_t kx, int32_t group, const int8x16x4_t& four) {
    int8_t adjacent[64];
    vst1q_s8_x4(adjacent, four);
    const int8x16x4_t rows = vld4q_s8(adjacent);
    for (int32_t r = 0; r < kRowGroup && group * kRowGroup + r < shape.kernel_h; ++r) {
      int16_t* to = wide + ((group * kRowGroup + r) * shape.kernel_w + kx) * kSixteen;
      vst1q_s16(to, vmovl_s8(vget_low_s8(rows.val[r])));
      vst1q_s16(to + 8, vmovl_high_s8(rows.val[r]));
    }
  });
}

// Sixteen channels of one output row.
struct SixteenRow {
  const Depthwise8Args* args;
  const ToBytes* to_bytes;
  const int16_t* weights;
  int32_t first, count;  // channels
  // Of each kernel_y: where column 0 lies, and how far the next; of rows outside, padding.
  const uint8_t* lines[kMostTaps];
  int64_t steps[kMostTaps];
  const uint8_t* padding;
};

[[gnu::always_inline]] inline void AddTap(int32x4_t (&sums)[4], const uint8_t* pixel, int16x8_t w0,
                                          int16x8_t w1) {
  const uint8x16_t bytes = vld1q_u8(pixel);  // over the channels' end: kReadSlack
  const int16x8_t x0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
  const int16x8_t x1 = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
  sums[0] = vmlal_s16(sums[0], vget_low_s16(x0), vget_low_s16(w0));
  sums[1] = vmlal_high_s16(sums[1], x0, w0);
  sums[2] = vmlal_s16(sums[2], vget_low_s16(x1), vget_low_s16(w1));
  sums[3] = vmlal_high_s16(sums[3], x1, w1);
}

inline void StoreSixteen(const Requantise& how, const ToBytes& to_bytes, int32_t channel,
                         int32_t count, const int32x4_t (&sums)[4], uint8_t* out) {
  float32x4x4_t values;
  Unroll<4>([&](auto v) {
    const float32x4_t multiplier = vld1q_f32(how.multiplier + channel + v * 4);
    values.val[v] = vmulq_f32(vcvtq_f32_s32(sums[v]), multiplier);
  });
  StoreSome(out, count, to_bytes(values));
}

// kCount outputs from x on. All their columns lie within the image, or kChecks.
template <int kCount, bool kChecks>
void SumTaps(const SixteenRow& row, int32_t x, uint8_t* out) {
  const Depthwise8Args& args = *row.args;
  const ConvShape& s = args.shape;
  int32x4_t sums[kCount][4];
  Unroll<4>([&](auto v) {
    const int32x4_t bias = vld1q_s32(args.requantise.bias + row.first + v * 4);
    Unroll<kCount>([&](auto i) { sums[i][v] = bias; });
  });
  const int16_t* weights = row.weights;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const int64_t step = row.steps[ky], next = s.stride_w * step;
    for (int32_t kx = 0; kx < s.kernel_w; ++kx, weights += kSixteen) {
      const int32_t column = InputX(s, x, kx);
      const int16x8_t w0 = vld1q_s16(weights), w1 = vld1q_s16(weights + 8);
      const bool inside = !kChecks || Within(column, s.in_w);
      const uint8_t* pixel = inside ? row.lines[ky] + column * step : row.padding;
      Unroll<kCount>([&](auto i) { AddTap(sums[i], pixel + i * next, w0, w1); });
    }
  }
  Unroll<kCount>([&](auto i) {
    StoreSixteen(args.requantise, *row.to_bytes, row.first, row.count, sums[i],
                 out + i * args.output.pixel_stride);
  });
}

// Whether an output's columns lie within the image.
inline bool Inside(const ConvShape& s, int32_t x) {
  return InputX(s, x, 0) >= 0 && InputX(s, x, s.kernel_w - 1) < s.in_w;
}

inline void NeonDepthwiseRow(SixteenRow& row, Pixel at) {
  const Depthwise8Args& args = *row.args;
  const ConvShape& s = args.shape;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const int32_t y = InputY(s, at.y, ky);
    const bool inside = Within(y, s.in_h);
    row.lines[ky] = inside ? At<uint8_t>(args.input, {at.image, y, 0}) + row.first : row.padding;
    row.steps[ky] = inside ? args.input.pixel_stride : 0;
  }
  for (int32_t x = 0; x < s.out_w;) {
    uint8_t* out = At<uint8_t>(args.output, {at.image, at.y, x}) + row.first;
    if (x + kBeside <= s.out_w && Inside(s, x) && Inside(s, x + kBeside - 1)) {
      SumTaps<kBeside, false>(row, x, out);
      x += kBeside;
    } else {
      SumTaps<1, true>(row, x++, out);
    }
  }
}

// Table and sum, for sixteen channels of an output row that was stored.
inline void FollowRow(const Depthwise8Args& args, Pixel at, int32_t first, int32_t count) {
  const Requantise& how = args.requantise;
  if (!how.table && !how.add) return;
  const auto pixel = [&](int32_t x) { return Pixel{at.image, at.y, x}; };
  FollowStores(
      how, args.shape.out_w, count,
      [&](int32_t x) { return At<uint8_t>(args.output, pixel(x)) + first; },
      [&](int32_t x) { return At<uint8_t>(how.residual, pixel(x)) + first; });
}

inline void NeonDepthwise8(const Depthwise8Args& args, Range rows, void* scratch) {
  const ConvShape& s = args.shape;
  if (!FewTaps(s)) return PlainDepthwise8(args, rows, scratch);
  const ToBytes to_bytes(args.requantise.zero_point, args.requantise.low, args.requantise.high);
  uint8_t padding[kSixteen];
  std::fill_n(padding, kSixteen, args.pad_value);
  auto* weights = static_cast<int16_t*>(scratch);
  SixteenRow row{.args = &args, .to_bytes = &to_bytes, .weights = weights, .first = 0, .count = 0};
  row.padding = padding;
  for (; row.first < s.groups; row.first += kSixteen) {
    row.count = std::min(kSixteen, s.groups - row.first);
    WidenTaps(s, args.weights, row.first, weights);
    for (int32_t r = rows.begin; r < rows.end; ++r) {
      const Pixel at{r / s.out_h, r % s.out_h, 0};
      NeonDepthwiseRow(row, at);
      FollowRow(args, at, row.first, row.count);
    }
  }
}

}  // namespace
}  // namespace ds::engine
