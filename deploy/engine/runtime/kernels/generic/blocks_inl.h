// How a convolution is cut for the caches: blocks of output pixels, in which every panel of weights
// is used for all tiles of pixels before the next one is read. A tile's inputs are read where they
// lie, through a pointer for each tap and pixel; pixels outside the image are one row of padding in
// scratch (the indirection of Dukhan, "The Indirect Convolution Algorithm", 2019). Where a tap's
// channels do not fill whole steps of the depth, rows are gathered first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

constexpr int32_t kBlockTiles = 8;
constexpr int32_t kTilePointers = 16;  // places for a tile's rows
constexpr int64_t kPointerBytes = 32 << 10;
constexpr int64_t kGatherBytes = 64 << 10;
constexpr int32_t kGatherBelow = 16;  // bytes of a tap's channels

// What the rows of a tile have, behind each other: pointers [taps][kTilePointers].
template <typename T>
struct Tile {
  const T* const* rows;
  int32_t count;  // of rows
  int32_t taps;
  int32_t run;  // elements of a tap, whole steps
  char* out[kTilePointers];
  const char* residual[kTilePointers];
};

// How a convolution of elements T in steps of kStep of the depth, by tiles of at most kRows pixels,
// uses its scratch.
template <typename T, int32_t kStep, int32_t kRows>
struct Blocks {
  explicit Blocks(const ConvShape& shape) {
    const int32_t all_taps = shape.kernel_h * shape.kernel_w;
    const int64_t channels = shape.in_channels;
    gathers = all_taps > 1 &&
              (channels % kStep != 0 || channels * static_cast<int64_t>(sizeof(T)) < kGatherBelow);
    taps = gathers ? 1 : all_taps;
    run = static_cast<int32_t>(RoundUp(gathers ? shape.Depth() : channels, kStep));
    const int64_t row = RoundUp(run * static_cast<int64_t>(sizeof(T)), 64);
    pad_bytes = row + 64;
    const int64_t pointers = int64_t{taps} * kTilePointers * static_cast<int64_t>(sizeof(T*));
    tiles = static_cast<int32_t>(std::clamp<int64_t>(kPointerBytes / pointers, 1, kBlockTiles));
    row_bytes = gathers ? row : 0;
    if (gathers) {
      tiles =
          static_cast<int32_t>(std::clamp<int64_t>(kGatherBytes / (kRows * row_bytes), 1, tiles));
    }
    pointer_bytes = tiles * pointers;
  }

  // The padding's row, the pointers, the gathered rows and room behind the last one.
  int64_t ScratchBytes() const {
    return pad_bytes + pointer_bytes + tiles * kRows * row_bytes + 64;
  }

  bool gathers;
  int32_t taps, run, tiles;
  int64_t pad_bytes, pointer_bytes, row_bytes;
};

// Where the pixels of a tile read their first tap.
struct TileOrigins {
  int32_t y[kTilePointers], x[kTilePointers];
  int64_t offset[kTilePointers];
};

template <typename T>
void PointAtTaps(const ConvShape& shape, const ImageIn& input, int64_t first_channel,
                 const TileOrigins& from, const T* padding, const T** pointers) {
  const char* data = static_cast<const char*>(input.data) + first_channel * sizeof(T);
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx, pointers += kTilePointers) {
      const int32_t down = ky * shape.dilation_h, right = kx * shape.dilation_w;
      const int64_t step = down * input.row_stride + right * input.pixel_stride;
      for (int32_t r = 0; r < kTilePointers; ++r) {
        const bool inside =
            Within(from.y[r] + down, shape.in_h) & Within(from.x[r] + right, shape.in_w);
        const int64_t at = reinterpret_cast<int64_t>(data) + from.offset[r] + step;
        pointers[r] = reinterpret_cast<const T*>(inside ? at : reinterpret_cast<int64_t>(padding));
      }
    }
  }
}

// As GatherRow(), a run of adjacent bytes at a time: may write up to 63 bytes behind the row. Copy
// (to, from, bytes) may write as much, and reads only its bytes.
template <typename T, typename Copy>
void GatherRuns(const ConvShape& shape, const ImageIn& input, Pixel at, int64_t first_channel,
                T pad, T* row, Copy copy) {
  const int64_t size = sizeof(T), channels = shape.in_channels;
  const bool dense = input.pixel_stride == channels * size && shape.dilation_w == 1;
  const int32_t x = InputX(shape, at.x, 0);
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky, row += shape.kernel_w * channels) {
    const int32_t y = InputY(shape, at.y, ky);
    const bool inside = Within(y, shape.in_h);
    if (inside && dense && x >= 0 && x + shape.kernel_w <= shape.in_w) {
      copy(row, At<T>(input, {at.image, y, x}) + first_channel, shape.kernel_w * channels * size);
      continue;
    }
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx) {
      const int32_t tap_x = x + kx * shape.dilation_w;
      T* to = row + kx * channels;
      if (inside && Within(tap_x, shape.in_w))
        copy(to, At<T>(input, {at.image, y, tap_x}) + first_channel, channels * size);
      else
        std::fill_n(to, channels, pad);
    }
  }
}

// Runs tile(tile, group, first column, columns) for all panels and pixels in the ranges. Args are
// Conv8Args or ConvF32Args.
template <typename T, int32_t kStep, int32_t kRows, typename Args, typename Copy, typename Run>
void RunBlocks(const Args& args, const ImageIn& residual, T pad, Range rows, Range columns,
               void* scratch, Copy copy, Run run_tile) {
  const ConvShape& shape = args.shape;
  const Blocks<T, kStep, kRows> blocks(shape);
  char* bytes = static_cast<char*>(scratch);
  T* padding = reinterpret_cast<T*>(bytes);
  std::fill_n(padding, blocks.pad_bytes / static_cast<int64_t>(sizeof(T)), pad);
  const T** pointers = reinterpret_cast<const T**>(bytes + blocks.pad_bytes);
  char* gathered = bytes + blocks.pad_bytes + blocks.pointer_bytes;
  const int32_t total = rows.end - rows.begin;
  const int32_t tile_count = (total + kRows - 1) / kRows;
  Tile<T> tiles[kBlockTiles];
  for (int32_t group = 0; group < shape.groups; ++group) {
    const int64_t in_channel = int64_t{1} * group * shape.in_channels;
    const int64_t out_channel = int64_t{1} * group * shape.out_channels;
    Pixel at = PixelOfRow(shape, rows.begin);
    for (int32_t first = 0; first < tile_count; first += blocks.tiles) {
      const int32_t count = std::min(blocks.tiles, tile_count - first);
      for (int32_t t = 0; t < count; ++t) {
        Tile<T>& tile = tiles[t];
        // Tiles of the range are as even as can be.
        const int64_t begin = int64_t{total} * (first + t) / tile_count;
        tile.count = static_cast<int32_t>(int64_t{total} * (first + t + 1) / tile_count - begin);
        tile.taps = blocks.taps;
        tile.run = blocks.run;
        const T** tile_pointers = pointers + int64_t{t} * blocks.taps * kTilePointers;
        tile.rows = tile_pointers;
        TileOrigins from;
        for (int32_t r = 0; r < kTilePointers; ++r) {
          if (r >= tile.count) {  // points where row 0 does
            from.y[r] = from.y[0], from.x[r] = from.x[0], from.offset[r] = from.offset[0];
            continue;
          }
          tile.out[r] = At<char>(args.output, at) + out_channel * sizeof(T);
          tile.residual[r] = At<char>(residual, at) + out_channel * sizeof(T);
          from.y[r] = InputY(shape, at.y, 0), from.x[r] = InputX(shape, at.x, 0);
          from.offset[r] = Offset(args.input, {at.image, from.y[r], from.x[r]});
          if (blocks.gathers) {
            T* row = reinterpret_cast<T*>(gathered + (t * kRows + r) * blocks.row_bytes);
            GatherRuns<T>(shape, args.input, at, in_channel, pad, row, copy);
            std::fill(row + shape.Depth(), row + blocks.run, T{0});
            tile_pointers[r] = row;
          }
          at = NextPixel(shape, at);
        }
        if (!blocks.gathers)
          PointAtTaps<T>(shape, args.input, in_channel, from, padding, tile_pointers);
      }
      for (int32_t column = columns.begin; column < columns.end; column += kPanel) {
        for (int32_t t = 0; t < count; ++t)
          run_tile(tiles[t], group, column, std::min(kPanel, columns.end - column));
      }
    }
  }
}

}  // namespace
}  // namespace ds::engine
