// Convolutions and matrix products, in plain loops: the reference of every instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/activate_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/requantise_inl.h"
#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

inline int64_t PlainConvScratch(const ConvShape& shape) {
  return RoundUp(RoundUp(shape.Depth(), 8) * static_cast<int64_t>(sizeof(float)), 64);
}

// Calls with each (group, first column, columns of the panel that are in the range).
template <typename Panel>
void ForPanels(const ConvShape& shape, Range columns, Panel panel) {
  for (int32_t group = 0; group < shape.groups; ++group) {
    for (int32_t column = columns.begin; column < columns.end; column += kPanel)
      panel(group, column, std::min(kPanel, columns.end - column));
  }
}

// sums[c] += one panel's products. Unsigned, since a bias from a file may be anything: then sums
// wrap, as vector instructions have it.
inline void Panel8(const uint8_t* row, const int8_t* weights, int32_t depth, int32_t width,
                   uint32_t* sums) {
  for (int32_t k = 0; k < depth; k += 4) {
    for (int32_t c = 0; c < width; ++c) {
      for (int32_t j = 0; j < 4; ++j)
        sums[c] += static_cast<uint32_t>(row[k + j] * weights[k * width + c * 4 + j]);
    }
  }
}

inline void Panel4(const uint8_t* row, const uint8_t* weights, int32_t depth, int32_t width,
                   uint32_t* sums) {
  for (int32_t k = 0; k < depth; k += 8) {
    for (int32_t c = 0; c < width; ++c) {
      for (int32_t j = 0; j < 4; ++j) {
        const uint8_t pair = weights[k / 2 * width + c * 4 + j];
        const int32_t low = static_cast<int8_t>(pair << 4) >> 4,
                      high = static_cast<int8_t>(pair) >> 4;
        sums[c] += static_cast<uint32_t>(row[k + j] * low + row[k + 4 + j] * high);
      }
    }
  }
}

// What follows the sums of `count` channels from `channel` on (of all groups) at a pixel.
inline void Finish8(const Conv8Args& args, Pixel at, int32_t channel, int64_t padded_channel,
                    int32_t count, const uint32_t* sums) {
  const Requantise& how = args.requantise;
  uint8_t* out = At<uint8_t>(args.output, at) + channel;
  RequantiseRow(how, sums, how.multiplier + padded_channel, count, out);
  if (how.table) LookupRow(how.table, out, count, out);
  if (how.add) AddRow(*how.add, out, At<uint8_t>(how.residual, at) + channel, count, out);
}

template <bool kFourBits>
void PlainConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  const ConvShape& shape = args.shape;
  const int32_t depth = static_cast<int32_t>(RoundUp(shape.Depth(), kFourBits ? 8 : 4));
  const int64_t group_bytes = kFourBits ? Group4Bytes(shape) : Group8Bytes(shape);
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  uint8_t* row = static_cast<uint8_t*>(scratch);
  std::fill(row + shape.Depth(), row + depth, uint8_t{0});
  Pixel at = PixelOfRow(shape, rows.begin);
  for (int32_t r = rows.begin; r < rows.end; ++r, at = NextPixel(shape, at)) {
    int32_t gathered = -1;
    ForPanels(shape, columns, [&](int32_t group, int32_t column, int32_t count) {
      if (gathered != group) GatherRow<uint8_t>(shape, args.input, at, group, args.pad_value, row);
      gathered = group;
      const int32_t width = PanelWidth(shape.out_channels - column);
      const uint8_t* weights = static_cast<const uint8_t*>(args.weights) + group * group_bytes +
                               static_cast<int64_t>(column) * depth / (kFourBits ? 2 : 1);
      uint32_t sums[kPanel];
      std::copy_n(args.requantise.bias + group * padded + column, kPanel, sums);
      if constexpr (kFourBits)
        Panel4(row, weights, depth, width, sums);
      else
        Panel8(row, reinterpret_cast<const int8_t*>(weights), depth, width, sums);
      Finish8(args, at, group * shape.out_channels + column, group * padded + column, count, sums);
    });
  }
}

inline void PlainConvF32(const ConvF32Args& args, Range rows, Range columns, void* scratch) {
  const ConvShape& shape = args.shape;
  const int32_t depth = shape.Depth();
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  float* row = static_cast<float*>(scratch);
  Pixel at = PixelOfRow(shape, rows.begin);
  for (int32_t r = rows.begin; r < rows.end; ++r, at = NextPixel(shape, at)) {
    int32_t gathered = -1;
    ForPanels(shape, columns, [&](int32_t group, int32_t column, int32_t count) {
      if (gathered != group) GatherRow<float>(shape, args.input, at, group, 0.0f, row);
      gathered = group;
      const int32_t width = PanelWidth(shape.out_channels - column);
      const float* weights =
          args.weights + group * GroupF32Floats(shape) + static_cast<int64_t>(column) * depth;
      float sums[kPanel];
      std::copy_n(args.bias + group * padded + column, kPanel, sums);
      for (int32_t k = 0; k < depth; ++k) {
        for (int32_t c = 0; c < width; ++c)
          sums[c] += row[k] * weights[static_cast<int64_t>(k) * width + c];
      }
      const int32_t channel = group * shape.out_channels + column;
      if (args.residual.data) {
        const float* residual = At<float>(args.residual, at) + channel;
        for (int32_t c = 0; c < count; ++c) sums[c] += residual[c];
      }
      ActivateRow(args.activate, sums, count, At<float>(args.output, at) + channel);
    });
  }
}

}  // namespace
}  // namespace ds::engine
