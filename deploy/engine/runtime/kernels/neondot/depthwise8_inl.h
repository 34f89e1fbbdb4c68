// Depthwise convolution of bytes by dot products: for each output row and sixteen channels, four
// input rows are interleaved once, so that one instruction takes four taps of a column of four
// channels. For any set of products with AddChannels().
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/neon/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/neon/finish8_inl.h"

namespace ds::engine {
namespace {

constexpr int64_t kColumnBytes = 64;           // of four rows
constexpr int64_t kColumnsBytes = 16 << 10;    // aimed at: well within the first-level cache
constexpr int64_t kMostColumnBytes = 1 << 20;  // needed by one output: beyond, plain loops
constexpr int64_t kMostWeightBytes = 32 << 10;

// Scratch: weights of sixteen channels, then columns [column][row group][64 bytes].
struct DotColumns {
  explicit DotColumns(const ConvShape& s) : column_bytes(RowGroups(s) * kColumnBytes) {
    reach = int64_t{s.kernel_w - 1} * s.dilation_w + 1;
    weight_bytes = s.kernel_w * column_bytes;
    outputs = static_cast<int32_t>(std::clamp<int64_t>(
        (kColumnsBytes / column_bytes - reach) / s.stride_w, kBeside, std::max(s.out_w, kBeside)));
    columns = (outputs - 1) * int64_t{s.stride_w} + reach;
    fits = columns * column_bytes <= kMostColumnBytes && weight_bytes <= kMostWeightBytes;
  }
  int64_t ScratchBytes() const { return fits ? weight_bytes + columns * column_bytes : 0; }

  int64_t column_bytes;
  int64_t reach;    // columns that one output needs
  int32_t outputs;  // computed from one filling
  int64_t columns, weight_bytes;
  bool fits;
};

inline int64_t DotDepthwiseScratch(const ConvShape& shape) {
  return DotColumns(shape).ScratchBytes();
}

template <typename Products>
struct DotDepthwise {
  const Depthwise8Args& args;
  const ConvShape& shape;
  const DotColumns plan;
  const ToBytes to_bytes;
  int8_t* weights;
  uint8_t* columns;
  int32_t first = 0, count = 0;  // channels
  int32_t bias[kSixteen] = {};

  DotDepthwise(const Depthwise8Args& of, void* scratch)
      : args(of),
        shape(of.shape),
        plan(of.shape),
        to_bytes(of.requantise.zero_point, of.requantise.low, of.requantise.high),
        weights(static_cast<int8_t*>(scratch)),
        columns(static_cast<uint8_t*>(scratch) + plan.weight_bytes) {}

  static uint8x16_t Code(uint8x16_t x) {
    return Products::kFlips ? veorq_u8(x, vdupq_n_u8(0x80)) : x;
  }

  // Goes to sixteen channels: their weights side by side, and the bias that undoes flipping.
  void Begin(int32_t channel) {
    first = channel;
    count = std::min(kSixteen, shape.groups - first);
    int32x4_t sums[4] = {};
    int8_t* to = weights;
    ForFourRows(shape, args.weights, first, [&](int32_t, int32_t, const int8x16x4_t& four) {
      vst1q_s8_x4(to, four);
      to += kColumnBytes;
      if constexpr (Products::kFlips) {
        for (int v = 0; v < 4; ++v) sums[v] = Products::AddFours(sums[v], four.val[v]);
      }
    });
    for (int v = 0; v < 4; ++v) {
      const int32x4_t folded = vld1q_s32(args.requantise.bias + first + v * 4);
      vst1q_s32(bias + v * 4, vaddq_s32(folded, vshlq_n_s32(sums[v], 7)));
    }
  }

  // `many` columns from that of output pixel `at`.
  void Interleave(Pixel at, int64_t many) {
    const int32_t groups = RowGroups(shape), in_w = shape.in_w;
    const int64_t pixel = args.input.pixel_stride, first_x = InputX(shape, at.x, 0);
    const uint8x16_t padding = Code(vdupq_n_u8(args.pad_value));
    for (int32_t g = 0; g < groups; ++g) {
      const uint8_t* lines[kRowGroup];
      for (int32_t r = 0; r < kRowGroup; ++r) {
        const int32_t ky = g * kRowGroup + r, y = InputY(shape, at.y, ky);
        const bool inside = ky < shape.kernel_h && Within(y, shape.in_h);
        lines[r] = inside ? At<uint8_t>(args.input, {at.image, y, 0}) + first : nullptr;
      }
      uint8_t* to = columns + g * kColumnBytes;
      for (int64_t i = 0; i < many; ++i, to += plan.column_bytes) {
        const int64_t x = first_x + i;
        const bool inside = x >= 0 && x < in_w;
        uint8x16_t rows[kRowGroup];
        Unroll<kRowGroup>([&](auto r) {  // over the channels' end: kReadSlack
          rows[r] = inside && lines[r] ? Code(vld1q_u8(lines[r] + x * pixel)) : padding;
        });
        StoreInterleaved(rows, to);
      }
    }
  }

  static void StoreInterleaved(const uint8x16_t (&rows)[kRowGroup], uint8_t* to) {
    const uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(rows[0], rows[1]));
    const uint16x8_t b = vreinterpretq_u16_u8(vzip2q_u8(rows[0], rows[1]));
    const uint16x8_t c = vreinterpretq_u16_u8(vzip1q_u8(rows[2], rows[3]));
    const uint16x8_t d = vreinterpretq_u16_u8(vzip2q_u8(rows[2], rows[3]));
    vst1q_u8(to, vreinterpretq_u8_u16(vzip1q_u16(a, c)));
    vst1q_u8(to + 16, vreinterpretq_u8_u16(vzip2q_u16(a, c)));
    vst1q_u8(to + 32, vreinterpretq_u8_u16(vzip1q_u16(b, d)));
    vst1q_u8(to + 48, vreinterpretq_u8_u16(vzip2q_u16(b, d)));
  }

  // kCount outputs side by side, the first from column `from` on.
  template <int kCount>
  void Sum(const uint8_t* from, uint8_t* out) const {
    const int64_t next = plan.column_bytes * shape.stride_w;
    const int64_t right = plan.column_bytes * shape.dilation_w;
    const int32_t kernel_w = shape.kernel_w;
    int32x4_t sums[kCount][4];
    Unroll<4>(
        [&](auto v) { Unroll<kCount>([&](auto i) { sums[i][v] = vld1q_s32(bias + v * 4); }); });
    const int8_t* w = weights;
    for (int32_t kx = 0; kx < kernel_w; ++kx, from += right) {
      for (int64_t at = 0; at < plan.column_bytes; at += kColumnBytes, w += kColumnBytes) {
        Unroll<4>([&](auto v) {
          const int8x16_t four = vld1q_s8(w + v * 16);
          Unroll<kCount>([&](auto i) {
            sums[i][v] =
                Products::AddChannels(sums[i][v], vld1q_u8(from + at + i * next + v * 16), four);
          });
        });
      }
    }
    Unroll<kCount>([&](auto i) {
      StoreSixteen(args.requantise, to_bytes, first, count, sums[i],
                   out + i * args.output.pixel_stride);
    });
  }

  void Row(Pixel at) {
    const int64_t next = plan.column_bytes * shape.stride_w;
    for (; at.x < shape.out_w; at.x += plan.outputs) {
      const int32_t many = std::min(plan.outputs, shape.out_w - at.x);
      Interleave(at, (many - 1) * int64_t{shape.stride_w} + plan.reach);
      uint8_t* out = At<uint8_t>(args.output, at) + first;
      int32_t x = 0;
      for (; x + kBeside <= many; x += kBeside)
        Sum<kBeside>(columns + x * next, out + x * args.output.pixel_stride);
      for (; x < many; ++x) Sum<1>(columns + x * next, out + x * args.output.pixel_stride);
    }
  }

  static void Run(const Depthwise8Args& args, Range rows, void* scratch) {
    DotDepthwise depthwise(args, scratch);
    const ConvShape& s = args.shape;
    if (!depthwise.plan.fits) return PlainDepthwise8(args, rows, scratch);
    for (int32_t channel = 0; channel < s.groups; channel += kSixteen) {
      depthwise.Begin(channel);
      for (int32_t row = rows.begin; row < rows.end; ++row) {
        const Pixel at{row / s.out_h, row % s.out_h, 0};
        depthwise.Row(at);
        FollowRow(args, at, depthwise.first, depthwise.count);
      }
    }
  }
};

}  // namespace
}  // namespace ds::engine
