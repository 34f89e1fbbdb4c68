// Matrix product of bytes by VNNI: a tile of 14 pixels by 32 channels keeps 28 sums in registers,
// so that a step of the depth takes 28 vpdpbusd for 2 loads of weights and 14 broadcast loads.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/kernels/generic/conv_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kTileRows = 14;
constexpr int32_t kLanes = 16;

// Where a tile's rows come from, what they are multiplied by, and where the bytes go.
struct Tile8 {
  const uint8_t* rows;
  int64_t row_stride;
  const int8_t* weights;
  int32_t depth;  // a multiple of 4
  const int32_t* bias;
  const float* multiplier;
  int32_t columns;
  uint8_t* const* out;  // a pointer a row
  const Requantise* how;
};

template <int kRows, int kVectors>
void RunTile8(const Tile8& tile) {
  __m512i sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_loadu_si512(tile.bias + v * kLanes);
  }
  const uint8_t* rows = tile.rows;
  const int8_t* weights = tile.weights;
  for (int32_t k = 0; k < tile.depth; k += 4, weights += kVectors * 64) {
    __m512i w[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_si512(weights + v * 64);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      int32_t four;
      std::memcpy(&four, rows + r * tile.row_stride + k, sizeof(four));
      const __m512i a = _mm512_set1_epi32(four);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], a, w[v]);
    }
  }
  const int32_t zero = tile.how->zero_point;
  const __m512 low = _mm512_set1_ps(static_cast<float>(tile.how->low - zero));
  const __m512 high = _mm512_set1_ps(static_cast<float>(tile.how->high - zero));
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    const int32_t left = std::clamp(tile.columns - v * kLanes, 0, kLanes);
    const __mmask16 mask = static_cast<__mmask16>((1u << left) - 1);
    const __m512 multiplier = _mm512_loadu_ps(tile.multiplier + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][v]), multiplier);
      value = _mm512_min_ps(_mm512_max_ps(value, low), high);
      const __m512i whole = _mm512_add_epi32(_mm512_cvtps_epi32(value), _mm512_set1_epi32(zero));
      _mm512_mask_cvtepi32_storeu_epi8(tile.out[r] + v * kLanes, mask, whole);
    }
  }
}

using RunTile = void (*)(const Tile8&);

template <int kVectors, size_t... kRows>
constexpr std::array<RunTile, kTileRows> TilesOf(std::index_sequence<kRows...>) {
  return {RunTile8<static_cast<int>(kRows) + 1, kVectors>...};
}

// Whether pixels are rows of a matrix as they lie.
inline bool RowsLieReady(const ConvShape& s, const ImageIn& in) {
  const bool one = s.kernel_h == 1 && s.kernel_w == 1 && s.stride_h == 1 && s.stride_w == 1;
  const bool whole = s.pad_top == 0 && s.pad_left == 0 && s.in_h == s.out_h && s.in_w == s.out_w;
  const bool even = (s.in_h == 1 || in.row_stride == in.pixel_stride * s.in_w) &&
                    (s.batch == 1 || in.image_stride == in.pixel_stride * s.in_w * s.in_h);
  return one && whole && even && (s.in_h == 1 ? s.batch == 1 : true);
}

inline int64_t VnniConvScratch(const ConvShape& shape) {
  return std::max(PlainConvScratch(shape), RoundUp(kTileRows * RoundUp(shape.Depth(), 4), 64));
}

// All panels of a group in the range, for `count` pixels from `at` on.
inline void RunPixels8(const Conv8Args& args, Pixel at, int32_t count, int32_t group, Range columns,
                       const uint8_t* rows, int64_t row_stride) {
  static constexpr auto kOne = TilesOf<1>(std::make_index_sequence<kTileRows>());
  static constexpr auto kTwo = TilesOf<2>(std::make_index_sequence<kTileRows>());
  const ConvShape& shape = args.shape;
  const Requantise& how = args.requantise;
  const int32_t depth = static_cast<int32_t>(RoundUp(shape.Depth(), 4));
  const int64_t padded = group * RoundUp(shape.out_channels, kChannelBlock);
  Pixel pixels[kTileRows];
  for (int32_t r = 0; r < count; ++r, at = NextPixel(shape, at)) pixels[r] = at;
  for (int32_t column = columns.begin; column < columns.end; column += kPanel) {
    const int32_t channel = group * shape.out_channels + column;
    uint8_t* out[kTileRows];
    for (int32_t r = 0; r < count; ++r) out[r] = At<uint8_t>(args.output, pixels[r]) + channel;
    const int8_t* weights = static_cast<const int8_t*>(args.weights) + group * Group8Bytes(shape) +
                            static_cast<int64_t>(column) * depth;
    const int32_t width = std::min(kPanel, columns.end - column);
    const Tile8 tile{rows,
                     row_stride,
                     weights,
                     depth,
                     how.bias + padded + column,
                     how.multiplier + padded + column,
                     width,
                     out,
                     &how};
    const bool half = PanelWidth(shape.out_channels - column) == kHalfPanel;
    (half ? kOne : kTwo)[static_cast<size_t>(count - 1)](tile);
    for (int32_t r = 0; r < count; ++r) {
      if (how.table) LookupRow(how.table, out[r], width, out[r]);
      if (how.add)
        AddRow(*how.add, out[r], At<uint8_t>(how.residual, pixels[r]) + channel, width, out[r]);
    }
  }
}

inline void VnniConv8(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  const ConvShape& shape = args.shape;
  const bool ready = RowsLieReady(shape, args.input);
  const int32_t depth = static_cast<int32_t>(RoundUp(shape.Depth(), 4));
  for (int32_t group = 0; group < shape.groups; ++group) {
    for (int32_t row = rows.begin; row < rows.end; row += kTileRows) {
      const int32_t count = std::min(kTileRows, rows.end - row);
      const Pixel first = PixelOfRow(shape, row);
      if (ready) {
        const uint8_t* from = At<uint8_t>(args.input, first) + group * shape.in_channels;
        RunPixels8(args, first, count, group, columns, from, args.input.pixel_stride);
        continue;
      }
      uint8_t* to = static_cast<uint8_t*>(scratch);
      Pixel at = first;
      for (int32_t r = 0; r < count; ++r, at = NextPixel(shape, at), to += depth) {
        GatherRow<uint8_t>(shape, args.input, at, group, args.pad_value, to);
        std::memset(to + shape.Depth(), 0, static_cast<size_t>(depth - shape.Depth()));
      }
      RunPixels8(args, first, count, group, columns, static_cast<const uint8_t*>(scratch), depth);
    }
  }
}

}  // namespace
}  // namespace ds::engine
