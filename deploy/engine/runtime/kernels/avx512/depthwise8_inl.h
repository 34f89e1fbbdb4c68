// Depthwise convolution of bytes by VNNI. For each output row and 64 channels, the bytes of four
// input rows are interleaved once, so that vpdpbusd takes four taps of a column at a time; what was
// interleaved serves all taps of the columns around. A block of 32 or 16 channels puts two or four
// pixels into a vector. Where a fourth row is there anyhow, as below 3x3, it serves the output row
// below too, whose weights are the same one byte further on.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx512/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

constexpr int64_t kColumnsBytes = 32 << 10;     // aimed at: within the first-level cache
constexpr int64_t kMostColumnsBytes = 1 << 20;  // needed by one output: beyond, plain loops
constexpr int32_t kMostTaps = 64;
constexpr int32_t kOutputs = 4;  // vectors of outputs at a time

// How an output row is cut. Interleaved columns lie as [plane][row group][vector][index][pixel's
// bytes]: a plane has the columns that are the same modulo the stride, so that outputs side by side
// read entries side by side.
struct ColumnPlan {
  explicit ColumnPlan(const ConvShape& s) : planes(s.stride_w), groups(RowGroups(s)) {
    reach = int64_t{s.kernel_w - 1} * s.dilation_w / s.stride_w + 1;
    // An entry of each plane, group and vector takes 256 bytes at most.
    const int64_t entry = int64_t{planes} * groups * 256;
    const int64_t fit = std::max<int64_t>(kColumnsBytes / entry - reach - 4, kOutputs);
    outputs = static_cast<int32_t>(std::min<int64_t>(RoundUp(s.out_w, kOutputs), RoundUp(fit, 4)));
    entries = outputs + reach + 4;
    bytes = entry * entries;
    fits = bytes <= kMostColumnsBytes && s.kernel_w * groups <= kMostTaps;
  }

  int32_t planes, groups;
  int64_t reach;    // entries that one output needs
  int32_t outputs;  // computed from one filling
  int64_t entries;  // of a plane, group and vector
  int64_t bytes;
  bool fits;
};

inline int64_t VnniDepthwiseScratch(const ConvShape& shape) {
  const ColumnPlan plan(shape);
  return plan.fits ? RoundUp(plan.bytes, 64) + 64 : 0;
}

// From channel order to that of DepthwisePlace(), and back: 16 bytes of vector l and vector v
// change places.
inline void TransposeLanes(const void* from, void* to) {
  __m512i n[4];
  Unroll<4>([&](auto i) { n[i] = _mm512_loadu_si512(static_cast<const char*>(from) + 64 * i); });
  const __m512i a = _mm512_shuffle_i32x4(n[0], n[1], 0x44);
  const __m512i b = _mm512_shuffle_i32x4(n[2], n[3], 0x44);
  const __m512i c = _mm512_shuffle_i32x4(n[0], n[1], 0xee);
  const __m512i d = _mm512_shuffle_i32x4(n[2], n[3], 0xee);
  char* out = static_cast<char*>(to);
  _mm512_storeu_si512(out, _mm512_shuffle_i32x4(a, b, 0x88));
  _mm512_storeu_si512(out + 64, _mm512_shuffle_i32x4(a, b, 0xdd));
  _mm512_storeu_si512(out + 128, _mm512_shuffle_i32x4(c, d, 0x88));
  _mm512_storeu_si512(out + 192, _mm512_shuffle_i32x4(c, d, 0xdd));
}

// 64, 32 or 16 bytes for every pixel of a vector.
template <int kPixels>
__m512i ForEveryPixel(const void* bytes) {
  if constexpr (kPixels == 1) return _mm512_loadu_si512(bytes);
  if constexpr (kPixels == 2)
    return _mm512_broadcast_i64x4(_mm256_loadu_si256(static_cast<const __m256i*>(bytes)));
  return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(bytes)));
}

// What the loops over a block of channels of one output row share.
struct ChannelBlock {
  const Depthwise8Args* args;
  const ColumnPlan* plan;
  int32_t first, count;  // channels
  char* columns;
  const int8_t* weights;
  bool in_pairs;  // of output rows; then the lower one's weights:
  alignas(64) int8_t lower_weights[kMostTaps * 256];
  int32_t taps;
  int64_t offsets[kMostTaps];  // of each tap's first vector from an output's column
  alignas(64) int32_t bias[64];
  alignas(64) float multiplier[64];
};

// The columns of output pixels from `x` on, interleaved; of `kernel_rows` rows.
template <int kPixels>
void Interleave(const ChannelBlock& block, Pixel at, int32_t kernel_rows) {
  constexpr int64_t kEntry = 64 / kPixels;
  const ConvShape& s = block.args->shape;
  const ImageIn& input = block.args->input;
  const ColumnPlan& plan = *block.plan;
  const __mmask64 mask = FirstLanes(block.count);
  const __m512i padding = _mm512_set1_epi8(static_cast<char>(block.args->pad_value));
  const int64_t vector_bytes = plan.entries * kEntry;
  const int32_t outputs = std::min(plan.outputs, s.out_w - at.x);
  const int64_t needed = outputs + plan.reach - 1;
  for (int32_t g = 0; g < plan.groups; ++g) {
    const char* lines[kRowGroup];
    __mmask64 line_masks[kRowGroup];
    __m512i outside[kRowGroup];
    for (int32_t r = 0; r < kRowGroup; ++r) {
      const int32_t ky = g * kRowGroup + r, y = InputY(s, at.y, ky);
      const bool inside = ky < kernel_rows && Within(y, s.in_h);
      lines[r] = At<char>(input, {at.image, inside ? y : 0, 0}) + block.first;
      line_masks[r] = inside ? mask : 0;
      outside[r] = inside ? _mm512_setzero_si512() : padding;
    }
    for (int32_t plane = 0; plane < plan.planes; ++plane) {
      char* to = block.columns + (int64_t{plane} * plan.groups + g) * 4 * vector_bytes;
      for (int64_t i = 0; i < needed; i += kPixels, to += 64) {
        __m512i rows[kRowGroup];
        const int64_t x = InputX(s, at.x, 0) + plane + i * s.stride_w;
        Unroll<kRowGroup>([&](auto r) {
          const auto load = [&](int64_t column) __attribute__((always_inline)) {
            if (column < 0 || column >= s.in_w) return padding;
            return _mm512_mask_loadu_epi8(outside[r], line_masks[r],
                                          lines[r] + column * input.pixel_stride);
          };
          rows[r] = load(x);
          if constexpr (kPixels == 2)
            rows[r] = _mm512_inserti64x4(rows[r], _mm512_castsi512_si256(load(x + s.stride_w)), 1);
          if constexpr (kPixels == 4) {
            Unroll<3>([&](auto p) {
              rows[r] = _mm512_inserti32x4(
                  rows[r], _mm512_castsi512_si128(load(x + (p + 1) * int64_t{s.stride_w})), p + 1);
            });
          }
        });
        const __m512i a = _mm512_unpacklo_epi8(rows[0], rows[1]);
        const __m512i b = _mm512_unpackhi_epi8(rows[0], rows[1]);
        const __m512i c = _mm512_unpacklo_epi8(rows[2], rows[3]);
        const __m512i d = _mm512_unpackhi_epi8(rows[2], rows[3]);
        _mm512_storeu_si512(to, _mm512_unpacklo_epi16(a, c));
        _mm512_storeu_si512(to + vector_bytes, _mm512_unpackhi_epi16(a, c));
        _mm512_storeu_si512(to + 2 * vector_bytes, _mm512_unpacklo_epi16(b, d));
        _mm512_storeu_si512(to + 3 * vector_bytes, _mm512_unpackhi_epi16(b, d));
      }
    }
  }
}

// kCount vectors of outputs: from `columns` on, at the offsets of the taps.
template <int kPixels, int kCount>
void SumColumns(const ChannelBlock& block, const int8_t* weights, const char* columns, char* out,
                int32_t pixels) {
  const Requantise& how = block.args->requantise;
  const int64_t vector_bytes = block.plan->entries * (64 / kPixels);
  __m512i sums[kCount][4];
  Unroll<4>([&](auto v) {
    const __m512i bias = ForEveryPixel<kPixels>(block.bias + v * kLanes);
    Unroll<kCount>([&](auto i) { sums[i][v] = bias; });
  });
  for (int32_t tap = 0; tap < block.taps; ++tap, weights += 256) {
    const char* from = columns + block.offsets[tap];
    Unroll<4>([&](auto v) {
      const __m512i w = ForEveryPixel<kPixels>(weights + v * 64);
      Unroll<kCount>([&](auto i) {
        const __m512i x = _mm512_loadu_si512(from + v * vector_bytes + i * 64);
        sums[i][v] = Dot(sums[i][v], x, w);
      });
    });
  }
  const ToBytes512 to_bytes(how.zero_point, how.low, how.high);
  __m512 multiplier[4];
  Unroll<4>([&](auto v) {
    multiplier[v] = _mm512_castsi512_ps(ForEveryPixel<kPixels>(block.multiplier + v * kLanes));
  });
  const __mmask64 mask = FirstLanes(block.count);
  const int64_t stride = block.args->output.pixel_stride;
  Unroll<kCount>([&](auto i) {
    const __m512i bytes =
        to_bytes(Scaled(sums[i][0], multiplier[0]), Scaled(sums[i][1], multiplier[1]),
                 Scaled(sums[i][2], multiplier[2]), Scaled(sums[i][3], multiplier[3]));
    Unroll<kPixels>([&](auto p) {
      const int32_t pixel = i * kPixels + p;
      if (pixel >= pixels) return;
      if constexpr (kPixels == 1)
        _mm512_mask_storeu_epi8(out + pixel * stride, mask, bytes);
      else if constexpr (kPixels == 2)
        _mm256_mask_storeu_epi8(out + pixel * stride, static_cast<__mmask32>(mask),
                                _mm512_extracti64x4_epi64(bytes, p));
      else
        _mm_mask_storeu_epi8(out + pixel * stride, static_cast<__mmask16>(mask),
                             _mm512_extracti32x4_epi32(bytes, p));
    });
  });
}

inline void PlaceTaps(const ConvShape& s, const ColumnPlan& plan, int64_t entry_bytes,
                      ChannelBlock& block) {
  const int64_t group_bytes = 4 * plan.entries * entry_bytes;
  block.taps = 0;
  for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
    const int32_t column = kx * s.dilation_w;
    int64_t offset = int64_t{column % plan.planes} * plan.groups * group_bytes +
                     column / plan.planes * entry_bytes;
    for (int32_t g = 0; g < plan.groups; ++g, offset += group_bytes)
      block.offsets[block.taps++] = offset;
  }
}

// `count` outputs of a row, whose columns begin at `columns`.
template <int kPixels>
void SumRow(const ChannelBlock& block, const int8_t* weights, const char* columns, char* out,
            int32_t count) {
  const int64_t stride = block.args->output.pixel_stride;
  constexpr int32_t kTogether = kOutputs * kPixels;
  for (int32_t x = 0; x < count;
       x += kTogether, columns += kOutputs * 64, out += kTogether * stride) {
    const int32_t left = count - x, vectors = (left + kPixels - 1) / kPixels;
    if (vectors >= 4)
      SumColumns<kPixels, 4>(block, weights, columns, out, left);
    else if (vectors == 3)
      SumColumns<kPixels, 3>(block, weights, columns, out, left);
    else if (vectors == 2)
      SumColumns<kPixels, 2>(block, weights, columns, out, left);
    else
      SumColumns<kPixels, 1>(block, weights, columns, out, left);
  }
}

// An output row, or a pair of them.
template <int kPixels>
void DepthwiseRow(const ChannelBlock& block, Pixel at, bool pair) {
  const Depthwise8Args& args = *block.args;
  const ColumnPlan& plan = *block.plan;
  const int32_t out_w = args.shape.out_w;
  for (; at.x < out_w; at.x += plan.outputs) {
    Interleave<kPixels>(block, at, args.shape.kernel_h + (pair ? 1 : 0));
    const int32_t count = std::min(plan.outputs, out_w - at.x);
    char* out = At<char>(args.output, at) + block.first;
    SumRow<kPixels>(block, block.weights, block.columns, out, count);
    if (pair) {
      SumRow<kPixels>(block, block.lower_weights, block.columns, out + args.output.row_stride,
                      count);
    }
  }
}

// A channel's four bytes of each row group, moved on by one.
inline void LowerWeights(int32_t kernel_w, int32_t groups, ChannelBlock& block) {
  for (int32_t kx = 0; kx < kernel_w; ++kx) {
    for (int32_t i = 0; i < groups * 4; ++i) {
      const int64_t at = (int64_t{kx} * groups * 4 + i) * 64;
      __m512i moved = _mm512_slli_epi32(_mm512_loadu_si512(block.weights + at), 8);
      if (i >= 4) {
        const __m512i before = _mm512_loadu_si512(block.weights + at - 256);
        moved = _mm512_or_si512(moved, _mm512_srli_epi32(before, 24));
      }
      _mm512_storeu_si512(block.lower_weights + at, moved);
    }
  }
}

// Table and residual of an output row that was stored.
inline void FollowDepthwiseRow(const ChannelBlock& block, Pixel at) {
  const Depthwise8Args& args = *block.args;
  const Requantise& how = args.requantise;
  for (at.x = 0; at.x < args.shape.out_w; ++at.x) {
    uint8_t* out = At<uint8_t>(args.output, at) + block.first;
    if (how.table) LookupRow512(how.table, out, block.count, out);
    if (how.add) {
      AddRow512(*how.add, out, At<uint8_t>(how.residual, at) + block.first, block.count, out);
    }
  }
}

inline void VnniDepthwise8(const Depthwise8Args& args, Range rows, void* scratch) {
  const ConvShape& s = args.shape;
  const ColumnPlan plan(s);
  if (!plan.fits) return PlainDepthwise8(args, rows, scratch);
  ChannelBlock block;
  block.args = &args;
  block.plan = &plan;
  block.columns = static_cast<char*>(scratch);
  block.in_pairs = s.stride_h == 1 && s.dilation_h == 1 && s.kernel_h % kRowGroup != 0 &&
                   rows.end - rows.begin > 1;
  for (block.first = 0; block.first < s.groups; block.first += kDepthwiseBlock) {
    block.count = std::min<int32_t>(kDepthwiseBlock, s.groups - block.first);
    block.weights = static_cast<const int8_t*>(args.weights) +
                    block.first / kDepthwiseBlock * DepthwiseBlockBytes(s);
    TransposeLanes(args.requantise.bias + block.first, block.bias);
    TransposeLanes(args.requantise.multiplier + block.first, block.multiplier);
    PlaceTaps(s, plan, block.count > 32 ? 64 : block.count > 16 ? 32 : 16, block);
    if (block.in_pairs) LowerWeights(s.kernel_w, plan.groups, block);
    const auto run = block.count > 32   ? DepthwiseRow<1>
                     : block.count > 16 ? DepthwiseRow<2>
                                        : DepthwiseRow<4>;
    for (int32_t row = rows.begin; row < rows.end;) {
      const Pixel at{row / s.out_h, row % s.out_h, 0};
      const bool pair = block.in_pairs && row + 1 < rows.end && at.y + 1 < s.out_h;
      run(block, at, pair);
      for (int32_t end = row + (pair ? 2 : 1); row < end; ++row) {
        if (args.requantise.table || args.requantise.add)
          FollowDepthwiseRow(block, {row / s.out_h, row % s.out_h, 0});
      }
    }
  }
}

}  // namespace
}  // namespace ds::engine
