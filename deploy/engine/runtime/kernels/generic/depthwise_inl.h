// Depthwise convolutions and pools, in loops over adjacent channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "deploy/engine/runtime/kernels/generic/activate_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/requantise_inl.h"
#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

// Channels at a time: their sums stay in the first-level cache.
constexpr int32_t kChannelChunk = 256;

template <typename Each>
void ForPixelsOfRows(const ConvShape& shape, Range rows, Each each) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    for (int32_t x = 0; x < shape.out_w; ++x) each(Pixel{row / shape.out_h, row % shape.out_h, x});
  }
}

inline void PlainDepthwise8(const Depthwise8Args& args, Range rows, void*) {
  const ConvShape& shape = args.shape;
  const Requantise& how = args.requantise;
  const int8_t* weights = static_cast<const int8_t*>(args.weights);
  ForPixelsOfRows(shape, rows, [&](Pixel at) {
    for (int32_t first = 0; first < shape.groups; first += kChannelChunk) {
      const int32_t count = std::min(kChannelChunk, shape.groups - first);
      uint32_t sums[kChannelChunk];
      std::copy_n(how.bias + first, count, sums);
      ForTaps<uint8_t>(shape, args.input, at, [&](int32_t tap, const uint8_t* pixel) {
        const int32_t ky = tap / shape.kernel_w, kx = tap % shape.kernel_w;
        for (int32_t c = 0; c < count; ++c) {
          const int32_t weight = weights[DepthwisePlace(shape, ky, kx, first + c)];
          sums[c] += static_cast<uint32_t>((pixel ? pixel[first + c] : args.pad_value) * weight);
        }
      });
      uint8_t* out = At<uint8_t>(args.output, at) + first;
      RequantiseRow(how, sums, how.multiplier + first, count, out);
      if (how.table) LookupRow(how.table, out, count, out);
      if (how.add) AddRow(*how.add, out, At<uint8_t>(how.residual, at) + first, count, out);
    }
  });
}

inline void PlainDepthwiseF32(const ConvF32Args& args, Range rows) {
  const ConvShape& shape = args.shape;
  const int64_t stride = RoundUp(shape.groups, kDepthwiseBlock);
  ForPixelsOfRows(shape, rows, [&](Pixel at) {
    for (int32_t first = 0; first < shape.groups; first += kChannelChunk) {
      const int32_t count = std::min(kChannelChunk, shape.groups - first);
      float sums[kChannelChunk];
      std::copy_n(args.bias + first, count, sums);
      ForTaps<float>(shape, args.input, at, [&](int32_t tap, const float* pixel) {
        if (!pixel) return;
        const float* w = args.weights + tap * stride + first;
        for (int32_t c = 0; c < count; ++c) sums[c] += pixel[first + c] * w[c];
      });
      if (args.residual.data) {
        const float* residual = At<float>(args.residual, at) + first;
        for (int32_t c = 0; c < count; ++c) sums[c] += residual[c];
      }
      ActivateRow(args.activate, sums, count, At<float>(args.output, at) + first);
    }
  });
}

// Elements that an average divides by.
inline int32_t PoolCount(const PoolArgs& args, int32_t inside) {
  return args.count_padding ? args.shape.kernel_h * args.shape.kernel_w : inside;
}

// What an average of codes is its sum times.
inline float AverageMultiplier(const PoolArgs& args, int32_t inside) {
  return args.scale_in / (args.scale_out * static_cast<float>(PoolCount(args, inside)));
}

inline void PlainMaximum8(const PoolArgs& args, Pixel at, int32_t first, int32_t count,
                          uint8_t* out) {
  std::fill_n(out, count, uint8_t{0});
  ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
    if (!pixel) return;
    for (int32_t c = 0; c < count; ++c) out[c] = std::max(out[c], pixel[first + c]);
  });
}

inline void PlainAverage8(const PoolArgs& args, Pixel at, int32_t first, int32_t count,
                          uint8_t* out) {
  int32_t sums[kChannelChunk] = {}, inside = 0;
  ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
    if (!pixel) return;
    ++inside;
    for (int32_t c = 0; c < count; ++c) sums[c] += pixel[first + c];
  });
  const float multiplier = AverageMultiplier(args, inside);
  const ToByte to_byte(args.zero_out, args.low, args.high);
  const int32_t zeros = inside * args.zero_in;
  for (int32_t c = 0; c < count; ++c)
    out[c] = to_byte(static_cast<float>(sums[c] - zeros) * multiplier);
}

inline void PlainPool8(const PoolArgs& args, Range rows) {
  ForPixelsOfRows(args.shape, rows, [&](Pixel at) {
    for (int32_t first = 0; first < args.shape.groups; first += kChannelChunk) {
      const int32_t count = std::min(kChannelChunk, args.shape.groups - first);
      uint8_t* out = At<uint8_t>(args.output, at) + first;
      if (args.kind == PoolKind::kMax)
        PlainMaximum8(args, at, first, count, out);
      else
        PlainAverage8(args, at, first, count, out);
      if (args.table) LookupRow(args.table, out, count, out);
    }
  });
}

inline void PlainPoolF32(const PoolArgs& args, Range rows) {
  const bool maximum = args.kind == PoolKind::kMax;
  ForPixelsOfRows(args.shape, rows, [&](Pixel at) {
    for (int32_t first = 0; first < args.shape.groups; first += kChannelChunk) {
      const int32_t count = std::min(kChannelChunk, args.shape.groups - first);
      float result[kChannelChunk];
      std::fill_n(result, count, maximum ? -std::numeric_limits<float>::infinity() : 0.0f);
      int32_t inside = 0;
      ForTaps<float>(args.shape, args.input, at, [&](int32_t, const float* pixel) {
        if (!pixel) return;
        ++inside;
        if (maximum) {
          for (int32_t c = 0; c < count; ++c)
            result[c] = pixel[first + c] > result[c] ? pixel[first + c] : result[c];
        } else {
          for (int32_t c = 0; c < count; ++c) result[c] += pixel[first + c];
        }
      });
      const float factor = maximum ? 1.0f : 1.0f / static_cast<float>(PoolCount(args, inside));
      float* out = At<float>(args.output, at) + first;
      for (int32_t c = 0; c < count; ++c) out[c] = result[c] * factor;
    }
  });
}

}  // namespace
}  // namespace ds::engine
