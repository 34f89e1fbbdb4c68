// Matrix product of bytes by tiles of a few pixels and eight channels. Tiles has the products of an
// instruction set: kRows; TileBytes() and Arrange(), which lays a tile's rows out for it, once for
// all channels; Multiply(); and CorrectBias() where it flips codes (see quads8_inl.h).
#pragma once

#include <arm_neon.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"
#include "deploy/engine/runtime/kernels/neon/finish8_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kEight = 8;  // channels of a tile

// Of a panel: eight channels' weights, and what follows.
struct EightChannels {
  const int8_t* weights;
  int64_t step_bytes;  // from one step of the depth to the next
  const int32_t* bias;
  const float* multiplier;
  int64_t channel;
  int32_t columns;  // of the eight
};

template <typename Tiles, bool kFourBits, int kRows>
void RunTile(const Tile<uint8_t>& tile, const uint8_t* rows, int64_t depth,
             const EightChannels& eight, const ToBytes& to_bytes) {
  int32x4_t sums[kRows][2];
  Tiles::template Multiply<kRows, kFourBits>(rows, depth, eight.weights, eight.step_bytes, sums);
  Unroll<kRows>([&](auto r) {
    float32x4_t values[2];
    Unroll<2>([&](auto v) {
      const int32x4_t sum = vaddq_s32(sums[r][v], vld1q_s32(eight.bias + v * 4));
      values[v] = vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(eight.multiplier + v * 4));
    });
    StoreSome(reinterpret_cast<uint8_t*>(tile.out[r]) + eight.channel, eight.columns,
              to_bytes(values[0], values[1]));
  });
}

using RunRows = void (*)(const Tile<uint8_t>&, const uint8_t*, int64_t, const EightChannels&,
                         const ToBytes&);

template <typename Tiles, bool kFourBits, size_t... kRows>
constexpr std::array<RunRows, sizeof...(kRows)> TilesOf(std::index_sequence<kRows...>) {
  return {RunTile<Tiles, kFourBits, static_cast<int>(kRows) + 1>...};
}

// Runs are short: most taps of a gathered row have a few channels.
struct CopyRun {
  void operator()(void* to, const void* from, int64_t bytes) const {
    auto* out = static_cast<uint8_t*>(to);
    const auto* in = static_cast<const uint8_t*>(from);
    for (; bytes >= 16; bytes -= 16, in += 16, out += 16) vst1q_u8(out, vld1q_u8(in));
    for (; bytes >= 4; bytes -= 4, in += 4, out += 4) std::memcpy(out, in, 4);
    for (; bytes > 0; --bytes) *out++ = *in++;
  }
};

template <typename Tiles>
int64_t TiledConvScratch(const ConvShape& shape) {
  const auto bytes = [&](const auto& blocks, int64_t step) {
    const int64_t rows = blocks.tiles * Tiles::TileBytes(RoundUp(shape.Depth(), step));
    return RoundUp(blocks.ScratchBytes(), 16) + rows;
  };
  return RoundUp(std::max(bytes(Blocks<uint8_t, 4, Tiles::kRows>(shape), 4),
                          bytes(Blocks<uint8_t, 8, Tiles::kRows>(shape), 8)),
                 64);
}

template <typename Tiles, bool kFourBits>
void TiledConv(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  constexpr int32_t kStep = kFourBits ? 8 : 4, kRows = Tiles::kRows;
  static constexpr auto kTiles = TilesOf<Tiles, kFourBits>(std::make_index_sequence<kRows>());
  const ConvShape& shape = args.shape;
  const Requantise& how = args.requantise;
  const int64_t depth = RoundUp(shape.Depth(), kStep);
  const int64_t group_bytes = kFourBits ? Group4Bytes(shape) : Group8Bytes(shape);
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  const ToBytes to_bytes(how.zero_point, how.low, how.high);
  uint8_t* arranged = static_cast<uint8_t*>(scratch) +
                      RoundUp(Blocks<uint8_t, kStep, kRows>(shape).ScratchBytes(), 16);
  const auto place = [&](const Tile<uint8_t>& tile) {
    return arranged + tile.number * Tiles::TileBytes(depth);
  };
  int32_t corrected[kPanel];  // of the panel in use: a block's tiles follow each other
  RunBlocks<uint8_t, kStep, kRows>(
      args, how.residual, args.pad_value, rows, columns, scratch, CopyRun(),
      [&](const Tile<uint8_t>& tile) { Tiles::Arrange(tile, depth, place(tile)); },
      [&](const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
        const int32_t panel = PanelWidth(shape.out_channels - column);
        const auto* weights = static_cast<const int8_t*>(args.weights) + group * group_bytes +
                              column * depth / (kFourBits ? 2 : 1);
        const int32_t* bias = how.bias + group * padded + column;
        if constexpr (Tiles::kFlips) {
          if (tile.number == 0)
            Tiles::template CorrectBias<kFourBits>(weights, depth, panel, bias, corrected);
          bias = corrected;
        }
        for (int32_t c = 0; c < width; c += kEight) {
          const EightChannels eight{weights + c * 4, panel * 4,
                                    bias + c,        how.multiplier + group * padded + column + c,
                                    column + c,      std::min(kEight, width - c)};
          kTiles[static_cast<size_t>(tile.count - 1)](tile, place(tile), depth, eight, to_bytes);
        }
        if (!how.table && !how.add) return;
        FollowStores(
            how, tile.count, width,
            [&](int32_t r) { return reinterpret_cast<uint8_t*>(tile.out[r]) + column; },
            [&](int32_t r) { return reinterpret_cast<const uint8_t*>(tile.residual[r]) + column; });
      });
}

}  // namespace
}  // namespace ds::engine
