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

constexpr int32_t kBlockPixels = 112;
constexpr int32_t kFewTiles = 8;            // whatever they take
constexpr int64_t kBlockBytes = 128 << 10;  // of inputs that more tiles may take
constexpr int32_t kBlockTiles = 24;         // room for any of today's tiles
constexpr int32_t kTilePointers = 16;       // places for a tile's rows
constexpr int64_t kPointerBytes = 32 << 10;
constexpr int64_t kGatherBytes = 64 << 10;
constexpr int32_t kGatherBelow = 16;  // bytes of a tap's channels

// What the rows of a tile have, behind each other: pointers [taps][kTilePointers].
template <typename T>
struct Tile {
  const T* const* rows;
  int32_t number;  // in its block
  int32_t count;   // of rows
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
    const int64_t tile_bytes = int64_t{kRows} * taps * row;
    const int64_t most = std::clamp<int64_t>(kBlockBytes / tile_bytes, kFewTiles,
                                             std::max(kFewTiles, kBlockPixels / kRows));
    tiles = static_cast<int32_t>(std::clamp<int64_t>(kPointerBytes / pointers, 1, most));
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
  const char* first[kTilePointers];
};

// Where one pixel does.
struct Origin {
  int32_t y, x;
  const char* first;
};

// Goes from one output pixel to those behind it: the first tap's place, and where the result goes.
class Walk {
 public:
  Walk(const ConvShape& shape, const ImageIn& input, const ImageOut& output,
       const ImageIn& residual, int32_t row)
      : shape_(shape), input_(input), output_(output), residual_(residual) {
    at_ = PixelOfRow(shape, row);
    Place();
  }

  // Output pixels from this one to the end of its row.
  int32_t LeftInRow() const { return shape_.out_w - at_.x; }

  // By at most LeftInRow() pixels.
  void Skip(int32_t count) {
    at_.x += count - 1;
    at_ = NextPixel(shape_, at_);
    Place();
  }

  int32_t y, x;       // of the first tap
  const char* first;  // lies outside the image where y and x do
  char* out;
  const char* residual;

 private:
  void Place() {
    y = InputY(shape_, at_.y, 0), x = InputX(shape_, at_.x, 0);
    first = At<char>(input_, {at_.image, y, x});
    out = At<char>(output_, at_);
    residual = residual_.data ? At<char>(residual_, at_) : nullptr;
  }

  const ConvShape& shape_;
  const ImageIn& input_;
  const ImageOut& output_;
  const ImageIn& residual_;
  Pixel at_;
};

// Whether no tap of any output pixel lies outside.
inline bool NeedsNoPadding(const ConvShape& s) {
  return s.pad_top == 0 && s.pad_left == 0 && InputY(s, s.out_h - 1, s.kernel_h - 1) < s.in_h &&
         InputX(s, s.out_w - 1, s.kernel_w - 1) < s.in_w;
}

template <typename T>
void PointAtTaps(const ConvShape& shape, const ImageIn& input, const TileOrigins& from,
                 const T* padding, const T** pointers) {
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx, pointers += kTilePointers) {
      const int32_t down = ky * shape.dilation_h, right = kx * shape.dilation_w;
      const int64_t step = down * input.row_stride + right * input.pixel_stride;
      for (int32_t r = 0; r < kTilePointers; ++r) {
        // Not &&: a branch would keep the loop from being vectorised.
        const int inside =
            int{Within(from.y[r] + down, shape.in_h)} & int{Within(from.x[r] + right, shape.in_w)};
        const int64_t at = reinterpret_cast<int64_t>(from.first[r]) + step;
        pointers[r] = reinterpret_cast<const T*>(inside ? at : reinterpret_cast<int64_t>(padding));
      }
    }
  }
}

// As GatherRow(), a run of adjacent bytes at a time: may write up to 63 bytes behind the row. Copy
// (to, from, bytes) may write as much, and reads only its bytes.
template <typename T, typename Copy>
void GatherRuns(const ConvShape& shape, const ImageIn& input, const Origin& from, T pad, T* row,
                Copy copy) {
  // Copies, since what is stored might be the shape for all that the compiler knows.
  const int64_t size = sizeof(T), channels = shape.in_channels;
  const int64_t run = shape.kernel_w * channels * size;
  const int64_t down = shape.dilation_h * input.row_stride;
  const int32_t kernel_h = shape.kernel_h;
  const bool dense = input.pixel_stride == channels * size && shape.dilation_w == 1 &&
                     from.x >= 0 && from.x + shape.kernel_w <= shape.in_w;
  const char* line = from.first;
  if (dense && from.y >= 0 && from.y + (kernel_h - 1) * shape.dilation_h < shape.in_h) {
    char* to = reinterpret_cast<char*>(row);
    for (int32_t ky = 0; ky < kernel_h; ++ky, line += down, to += run) copy(to, line, run);
    return;
  }
  for (int32_t ky = 0; ky < kernel_h; ++ky, line += down) {
    const bool inside = Within(from.y + ky * shape.dilation_h, shape.in_h);
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx, row += channels) {
      const int32_t right = kx * shape.dilation_w;
      if (inside && Within(from.x + right, shape.in_w))
        copy(row, line + right * input.pixel_stride, channels * size);
      else
        std::fill_n(row, channels, pad);
    }
  }
}

// One convolution's blocks, filled with tiles one after another.
template <typename T, int32_t kStep, int32_t kRows, typename Args>
class BlockFiller {
 public:
  BlockFiller(const Args& args, const ImageIn& residual, T pad, void* scratch)
      : args_(args), residual_(residual), pad_(pad), blocks_(args.shape) {
    char* bytes = static_cast<char*>(scratch);
    padding_ = reinterpret_cast<T*>(bytes);
    std::fill_n(padding_, blocks_.pad_bytes / static_cast<int64_t>(sizeof(T)), pad);
    pointers_ = reinterpret_cast<const T**>(bytes + blocks_.pad_bytes);
    gathered_ = bytes + blocks_.pad_bytes + blocks_.pointer_bytes;
    direct_ = !blocks_.gathers && blocks_.taps == 1 && NeedsNoPadding(args.shape);
  }

  int32_t TilesOfBlock() const { return blocks_.tiles; }
  Walk From(int32_t row) const {
    return Walk(args_.shape, args_.input, args_.output, residual_, row);
  }

  // Tile `number` of the block: the next `count` pixels of a group.
  template <typename Copy>
  void Fill(int32_t number, int32_t count, int32_t group, Walk& walk, Copy copy, Tile<T>& tile) {
    const ConvShape& shape = args_.shape;
    const int64_t in = int64_t{1} * group * shape.in_channels * static_cast<int64_t>(sizeof(T));
    const int64_t out = int64_t{1} * group * shape.out_channels * static_cast<int64_t>(sizeof(T));
    const T** pointers = pointers_ + int64_t{number} * blocks_.taps * kTilePointers;
    tile.rows = pointers;
    tile.number = number;
    tile.count = count;
    tile.taps = blocks_.taps;
    tile.run = blocks_.run;
    const bool points = !direct_ && !blocks_.gathers;
    TileOrigins from;
    if (points) from = {};
    for (int32_t r = 0; r < count;) {
      const int32_t some = std::min(count - r, walk.LeftInRow());
      PlaceOut(walk, out, some, tile.out + r, tile.residual + r);
      const Origin origin{walk.y, walk.x, walk.first + in};
      const int32_t right = shape.stride_w;
      const int64_t step = right * args_.input.pixel_stride;
      for (int32_t i = 0; i < some; ++i, ++r) {
        const Origin at{origin.y, origin.x + i * right, origin.first + i * step};
        if (direct_) {
          pointers[r] = reinterpret_cast<const T*>(at.first);
        } else if (blocks_.gathers) {
          T* row = reinterpret_cast<T*>(gathered_ + (number * kRows + r) * blocks_.row_bytes);
          GatherRuns<T>(shape, args_.input, at, pad_, row, copy);
          pointers[r] = row;
        } else {
          from.y[r] = at.y, from.x[r] = at.x, from.first[r] = at.first;
        }
      }
      walk.Skip(some);
    }
    if (points) PointAtTaps<T>(shape, args_.input, from, padding_, pointers);
  }

 private:
  // Where `count` pixels side by side go, and what is added to them.
  void PlaceOut(const Walk& walk, int64_t offset, int32_t count, char** out,
                const char** residual) const {
    char* to = walk.out + offset;
    const bool adds = residual_.data;
    const char* from = adds ? walk.residual + offset : nullptr;
    const int64_t to_step = args_.output.pixel_stride;
    const int64_t from_step = adds ? residual_.pixel_stride : 0;
    for (int32_t i = 0; i < count; ++i, to += to_step, from += from_step)
      out[i] = to, residual[i] = from;
  }

  const Args& args_;
  const ImageIn& residual_;
  const T pad_;
  const Blocks<T, kStep, kRows> blocks_;
  T* padding_;
  const T** pointers_;
  char* gathered_;
  bool direct_;
};

// Calls fill(tile) once for each tile of the rows, and block(tiles, count, group) behind the last
// one of each block. Args are Conv8Args or ConvF32Args. Tiles of the range are as even as can be,
// the larger ones first.
template <typename T, int32_t kStep, int32_t kRows, typename Args, typename Copy, typename Fill,
          typename Block>
void ForBlocks(const Args& args, const ImageIn& residual, T pad, Range rows, void* scratch,
               Copy copy, Fill fill, Block block) {
  BlockFiller<T, kStep, kRows, Args> filler(args, residual, pad, scratch);
  const int32_t total = rows.end - rows.begin;
  if (total <= 0) return;
  const int32_t tile_count = (total + kRows - 1) / kRows;
  const int32_t tile_rows = total / tile_count, larger = total % tile_count;
  const int32_t blocks = (tile_count + filler.TilesOfBlock() - 1) / filler.TilesOfBlock();
  const int32_t block_tiles = (tile_count + blocks - 1) / blocks;
  Tile<T> tiles[kBlockTiles];
  static_assert(kBlockPixels / kRows <= kBlockTiles);
  for (int32_t group = 0; group < args.shape.groups; ++group) {
    Walk walk = filler.From(rows.begin);
    for (int32_t first = 0; first < tile_count; first += block_tiles) {
      const int32_t count = std::min(block_tiles, tile_count - first);
      for (int32_t t = 0; t < count; ++t) {
        const int32_t size = tile_rows + (first + t < larger ? 1 : 0);
        filler.Fill(t, size, group, walk, copy, tiles[t]);
        fill(tiles[t]);
      }
      block(tiles, count, group);
    }
  }
}

// Runs run_tile(tile, group, first column, columns), at most kColumns of a panel, for all panels
// and pixels in the ranges, and before that prepare(tile) once for each tile.
template <typename T, int32_t kStep, int32_t kRows, int32_t kColumns = kPanel, typename Args,
          typename Copy, typename Prepare, typename Run>
void RunBlocks(const Args& args, const ImageIn& residual, T pad, Range rows, Range columns,
               void* scratch, Copy copy, Prepare prepare, Run run_tile) {
  ForBlocks<T, kStep, kRows>(
      args, residual, pad, rows, scratch, copy, prepare,
      [&](const Tile<T>* tiles, int32_t count, int32_t group) {
        for (int32_t column = columns.begin; column < columns.end; column += kColumns) {
          for (int32_t t = 0; t < count; ++t)
            run_tile(tiles[t], group, column, std::min(kColumns, columns.end - column));
        }
      });
}

}  // namespace
}  // namespace ds::engine
