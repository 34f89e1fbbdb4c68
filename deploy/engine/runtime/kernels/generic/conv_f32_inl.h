// Convolution of floats by tiles of sums in registers, for any set of vectors: Vector has Register,
// kWidth, Zero(), Load(), LoadSome(), StoreSome(), Every() (one value in all lanes), MultiplyAdd(),
// Add(), Max() and Min(), what float_rows_inl.h wants, and, where an instruction takes a factor
// from a lane, MultiplyAddLane().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/kernels/generic/activate_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/float_rows_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

// Two vectors of channels of a panel, and what follows.
struct PanelF32 {
  const float* weights;
  int64_t step;  // floats from one of the depth to the next
  const float* bias;
  int64_t channel;  // of the group
  int32_t columns;
  const ConvF32Args* args;
};

template <typename Vector, int kRows, int kVectors>
[[gnu::always_inline]] inline void StoreTileF32(
    const Tile<float>& tile, const PanelF32& panel,
    const typename Vector::Register (&sums)[kRows][kVectors]) {
  using Register = typename Vector::Register;
  const Activate& activate = panel.args->activate;
  const bool clamps = activate.kind == Activation::kClamp, adds = panel.args->residual.data;
  const Register low = Vector::Every(activate.low), high = Vector::Every(activate.high);
  Unroll<kRows>([&](auto r) {
    float* out = reinterpret_cast<float*>(tile.out[r]) + panel.channel;
    const float* residual = reinterpret_cast<const float*>(tile.residual[r]);
    if (adds) residual += panel.channel;
    Unroll<kVectors>([&](auto v) {
      const int32_t count = panel.columns - v * Vector::kWidth;
      if (count <= 0) return;
      Register value = sums[r][v];
      if (adds) value = Vector::Add(value, Vector::LoadSome(residual + v * Vector::kWidth, count));
      if (clamps) value = Vector::Min(Vector::Max(value, low), high);
      Vector::StoreSome(out + v * Vector::kWidth, count, value);
    });
  });
}

template <typename Vector>
concept HasLanes = requires(typename Vector::Register r) {
  Vector::template MultiplyAddLane<0>(r, r, r);
};

// As many of the depth as a vector has lanes.
template <typename Vector, int kRows, int kVectors>
[[gnu::always_inline]] inline void AddLanesF32(const float* const* rows, int64_t k,
                                               const float* weights, int64_t step,
                                               typename Vector::Register (&sums)[kRows][kVectors]) {
  using Register = typename Vector::Register;
  Register x[kRows];
  Unroll<kRows>([&](auto r) { x[r] = Vector::Load(rows[r] + k); });
  Unroll<Vector::kWidth>([&](auto lane) {
    Unroll<kVectors>([&](auto v) {
      const Register w = Vector::Load(weights + lane * step + v * Vector::kWidth);
      Unroll<kRows>([&](auto r) {
        sums[r][v] = Vector::template MultiplyAddLane<lane>(x[r], w, sums[r][v]);
      });
    });
  });
}

template <typename Vector, int kRows, int kVectors>
void RunTileF32(const Tile<float>& tile, const PanelF32& panel) {
  using Register = typename Vector::Register;
  Register sums[kRows][kVectors];
  Unroll<kVectors>([&](auto v) {
    const Register bias = Vector::Load(panel.bias + v * Vector::kWidth);
    Unroll<kRows>([&](auto r) { sums[r][v] = bias; });
  });
  const float* weights = panel.weights;
  const float* const* pointers = tile.rows;
  for (int32_t tap = 0; tap < tile.taps; ++tap, pointers += kTilePointers) {
    int64_t k = 0;
    if constexpr (HasLanes<Vector>) {
      constexpr int64_t kLanes = Vector::kWidth;
      for (; k + kLanes <= tile.run; k += kLanes, weights += kLanes * panel.step)
        AddLanesF32<Vector, kRows, kVectors>(pointers, k, weights, panel.step, sums);
    }
    for (; k < tile.run; ++k, weights += panel.step) {
      Register w[kVectors];
      Unroll<kVectors>([&](auto v) { w[v] = Vector::Load(weights + v * Vector::kWidth); });
      Unroll<kRows>([&](auto r) {
        const Register x = Vector::Every(pointers[r][k]);
        Unroll<kVectors>([&](auto v) { sums[r][v] = Vector::MultiplyAdd(x, w[v], sums[r][v]); });
      });
    }
  }
  StoreTileF32<Vector, kRows, kVectors>(tile, panel, sums);
}

inline bool FollowsStores(Activation kind) {
  return kind != Activation::kNone && kind != Activation::kClamp;
}

// The activations that are not done on the way.
template <typename Vector>
void FollowTileF32(const Tile<float>& tile, const Activate& how, int64_t channel, int32_t count) {
  for (int32_t r = 0; r < tile.count; ++r) {
    float* out = reinterpret_cast<float*>(tile.out[r]) + channel;
    Floats<Vector>::ActivateRow(how, out, count, out);
  }
}

using RunFloats = void (*)(const Tile<float>&, const PanelF32&);

template <typename Vector, int kVectors, size_t... kRows>
constexpr std::array<RunFloats, sizeof...(kRows)> TilesOfF32(std::index_sequence<kRows...>) {
  return {RunTileF32<Vector, static_cast<int>(kRows) + 1, kVectors>...};
}

struct CopyFloats {
  void operator()(void* to, const void* from, int64_t bytes) const {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
};

template <typename Vector, int32_t kRows>
int64_t TiledConvF32Scratch(const ConvShape& shape) {
  return RoundUp(Blocks<float, 1, kRows>(shape).ScratchBytes(), 64);
}

template <typename Vector, int32_t kRows>
void TiledConvF32(const ConvF32Args& args, Range rows, Range columns, void* scratch) {
  static constexpr auto kOne = TilesOfF32<Vector, 1>(std::make_index_sequence<kRows>());
  static constexpr auto kTwo = TilesOfF32<Vector, 2>(std::make_index_sequence<kRows>());
  const ConvShape& shape = args.shape;
  const int64_t depth = shape.Depth();
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  // What two vectors take of a panel's weights stays in a cache for all tiles of a block.
  constexpr int32_t kColumns = 2 * Vector::kWidth;
  RunBlocks<float, 1, kRows, kColumns>(
      args, args.residual, 0.0f, rows, columns, scratch, CopyFloats(), [](const Tile<float>&) {},
      [&](const Tile<float>& tile, int32_t group, int32_t column, int32_t width) {
        const int32_t first = column / kPanel * kPanel;
        const int32_t panel = PanelWidth(shape.out_channels - first);
        const float* weights =
            args.weights + group * GroupF32Floats(shape) + first * depth + (column - first);
        const PanelF32 part{weights, panel, args.bias + group * padded + column,
                            column,  width, &args};
        const bool two = width > Vector::kWidth;
        (two ? kTwo : kOne)[static_cast<size_t>(tile.count - 1)](tile, part);
        if (FollowsStores(args.activate.kind))
          FollowTileF32<Vector>(tile, args.activate, column, width);
      });
}

// What follows the sums of kVectors vectors of channels from `first` on, at one pixel.
template <typename Vector, int kVectors>
[[gnu::always_inline]] inline void StoreDepthwiseF32(
    const ConvF32Args& args, Pixel at, int32_t first,
    const typename Vector::Register (&sums)[kVectors]) {
  using Register = typename Vector::Register;
  const int32_t count = args.shape.groups - first;
  const bool clamps = args.activate.kind == Activation::kClamp;
  const Register low = Vector::Every(args.activate.low), high = Vector::Every(args.activate.high);
  float* out = At<float>(args.output, at) + first;
  Unroll<kVectors>([&](auto v) {
    const int32_t left = std::max(count - v * Vector::kWidth, 0);
    Register value = sums[v];
    if (args.residual.data) {
      const float* residual = At<float>(args.residual, at) + first + v * Vector::kWidth;
      value = Vector::Add(value, Vector::LoadSome(residual, left));
    }
    if (clamps) value = Vector::Min(Vector::Max(value, low), high);
    Vector::StoreSome(out + v * Vector::kWidth, left, value);
  });
}

// kVectors vectors of channels from `first` on, at one pixel.
template <typename Vector, int kVectors>
void DepthwisePixelF32(const ConvF32Args& args, Pixel at, int32_t first) {
  using Register = typename Vector::Register;
  const ConvShape& shape = args.shape;
  const int64_t stride = RoundUp(shape.groups, kDepthwiseBlock);
  const int32_t count = shape.groups - first;
  const float* weights = args.weights + first;
  Register sums[kVectors];
  Unroll<kVectors>([&](auto v) { sums[v] = Vector::Load(args.bias + first + v * Vector::kWidth); });
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    const int32_t y = InputY(shape, at.y, ky);
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx, weights += stride) {
      const int32_t x = InputX(shape, at.x, kx);
      if (!Within(y, shape.in_h) || !Within(x, shape.in_w)) continue;
      const float* pixel = At<float>(args.input, {at.image, y, x}) + first;
      Unroll<kVectors>([&](auto v) {
        const Register some =
            Vector::LoadSome(pixel + v * Vector::kWidth, std::max(count - v * Vector::kWidth, 0));
        sums[v] = Vector::MultiplyAdd(some, Vector::Load(weights + v * Vector::kWidth), sums[v]);
      });
    }
  }
  StoreDepthwiseF32<Vector, kVectors>(args, at, first, sums);
}

// Two vectors of channels from `first` on, all of them there, at kPixels pixels side by side no tap
// of which lies outside.
template <typename Vector, int kPixels>
void DepthwisePixelsF32(const ConvF32Args& args, Pixel at, int32_t first) {
  using Register = typename Vector::Register;
  const ConvShape& shape = args.shape;
  const int64_t stride = RoundUp(shape.groups, kDepthwiseBlock);
  const int64_t next = shape.stride_w * args.input.pixel_stride;
  const int64_t right = shape.dilation_w * args.input.pixel_stride;
  const int64_t down = shape.dilation_h * args.input.row_stride;
  const int32_t kernel_h = shape.kernel_h, kernel_w = shape.kernel_w;
  const float* weights = args.weights + first;
  const char* line =
      At<char>(args.input, {at.image, InputY(shape, at.y, 0), InputX(shape, at.x, 0)}) +
      first * static_cast<int64_t>(sizeof(float));
  Register sums[kPixels][2];
  Unroll<2>([&](auto v) {
    const Register bias = Vector::Load(args.bias + first + v * Vector::kWidth);
    Unroll<kPixels>([&](auto i) { sums[i][v] = bias; });
  });
  for (int32_t ky = 0; ky < kernel_h; ++ky, line += down) {
    const char* pixel = line;
    for (int32_t kx = 0; kx < kernel_w; ++kx, weights += stride, pixel += right) {
      Unroll<2>([&](auto v) {
        const Register w = Vector::Load(weights + v * Vector::kWidth);
        Unroll<kPixels>([&](auto i) {
          const auto* x = reinterpret_cast<const float*>(pixel + i * next) + v * Vector::kWidth;
          sums[i][v] = Vector::MultiplyAdd(Vector::Load(x), w, sums[i][v]);
        });
      });
    }
  }
  Unroll<kPixels>([&](auto i) {
    StoreDepthwiseF32<Vector, 2>(args, {at.image, at.y, at.x + i}, first, sums[i]);
  });
}

// The output pixels of a line no tap of which lies outside.
inline Range InsideOfLine(const ConvShape& s, int32_t y) {
  const bool inside = InputY(s, y, 0) >= 0 && InputY(s, y, s.kernel_h - 1) < s.in_h;
  if (!inside) return {};
  Range range{0, s.out_w};
  while (range.begin < range.end && InputX(s, range.begin, 0) < 0) ++range.begin;
  while (range.begin < range.end && InputX(s, range.end - 1, s.kernel_w - 1) >= s.in_w) --range.end;
  return range;
}

template <typename Vector>
void DepthwiseF32(const ConvF32Args& args, Range rows) {
  constexpr int32_t kTogether = 4, kTwo = 2 * Vector::kWidth;
  const ConvShape& shape = args.shape;
  const int32_t channels = shape.groups;
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    Pixel at{row / shape.out_h, row % shape.out_h, 0};
    // With a stride pixels share too little to pay for reading them 16 channels at a time.
    const Range inside = shape.stride_w == 1 ? InsideOfLine(shape, at.y) : Range();
    while (at.x < shape.out_w) {
      const bool together = at.x >= inside.begin && at.x + kTogether <= inside.end;
      int32_t first = 0;
      for (; together && first + kTwo <= channels; first += kTwo)
        DepthwisePixelsF32<Vector, kTogether>(args, at, first);
      for (const int32_t end = at.x + (together ? kTogether : 1); at.x < end; ++at.x) {
        for (int32_t c = first; c < channels;) {
          if (channels - c > kTwo) {
            DepthwisePixelF32<Vector, 4>(args, at, c);
            c += 2 * kTwo;
          } else {
            DepthwisePixelF32<Vector, 2>(args, at, c);
            c += kTwo;
          }
        }
        float* out = At<float>(args.output, at);
        if (FollowsStores(args.activate.kind))
          Floats<Vector>::ActivateRow(args.activate, out, channels, out);
      }
    }
  }
}

}  // namespace
}  // namespace ds::engine
