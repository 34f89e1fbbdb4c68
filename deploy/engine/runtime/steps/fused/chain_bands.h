// Which rows of a chain of convolutions are in memory at a time. The last one's output is made a
// few rows after another; of every other image a band holds the rows that these need, and those
// that the next ones need, too, are moved to its front: nothing is computed twice. Tiling of
// depth-first fusion as in Alwani et al., "Fused-Layer CNN Accelerators" (2016), with its "reuse"
// of rows instead of computing them anew.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {

// Rows of the input that some rows (not none) of the output read, those outside the image left out.
// Each window must meet the image.
inline Range InputRows(const ConvShape& shape, Range out) {
  const int32_t reach = (shape.kernel_h - 1) * shape.dilation_h + 1;
  return {std::max(0, out.begin * shape.stride_h - shape.pad_top),
          std::min(shape.in_h, (out.end - 1) * shape.stride_h - shape.pad_top + reach)};
}

// The same convolution where only these rows of its input and output are there.
inline ConvShape ShapeOfRows(const ConvShape& whole, Range in, Range out) {
  ConvShape shape = whole;
  shape.batch = 1;
  shape.in_h = in.end - in.begin;
  shape.out_h = out.end - out.begin;
  shape.pad_top = in.begin - (out.begin * whole.stride_h - whole.pad_top);
  return shape;
}

class ChainBands {
 public:
  // Of codes: a channel is a byte. As many rows of the last image at a time as keep all bands
  // within `bytes`, at least one.
  ChainBands(const std::vector<ConvShape>& shapes, int64_t bytes) : images_(shapes.size() - 1) {
    int32_t fits = 1, most = std::max(1, shapes.back().out_h);
    while (fits < most) {  // bisected: a file says how many there are
      const int32_t middle = fits + (most - fits + 1) / 2;
      Place(shapes, middle);
      if (bytes_ <= bytes) {
        fits = middle;
      } else {
        most = middle - 1;
      }
    }
    Place(shapes, fits);
  }

  int32_t rows() const { return rows_; }
  int64_t bytes() const { return bytes_; }
  int64_t row_bytes(int image) const { return images_[image].row_bytes; }
  int64_t offset(int image) const { return images_[image].offset; }

 private:
  struct Image {
    int64_t row_bytes = 0, offset = 0;
  };

  void Place(const std::vector<ConvShape>& shapes, int32_t rows) {
    rows_ = rows;
    int64_t held = rows;
    bytes_ = 0;
    for (size_t i = shapes.size() - 1; i > 0; --i) {
      const ConvShape &reader = shapes[i], &maker = shapes[i - 1];
      const int64_t reach = int64_t{reader.kernel_h - 1} * reader.dilation_h + 1;
      held = std::min<int64_t>(reader.in_h, (held - 1) * reader.stride_h + reach);
      Image& image = images_[i - 1];
      image.row_bytes = int64_t{maker.out_w} * maker.groups * maker.out_channels;
      image.offset = bytes_;
      // What kernels may read behind the last row.
      bytes_ += RoundUp(held * image.row_bytes + kReadSlack, 64);
    }
  }

  std::vector<Image> images_;  // between the stages
  int32_t rows_ = 1;
  int64_t bytes_ = 0;
};

// Rows of one image that lie in its band, the first one at the front.
class HeldRows {
 public:
  // Makes the band begin at need.begin. Returns the rows of `need` that are to be made: behind
  // those that are there already; none, where all are. Never goes back.
  Range Advance(Range need, char* band, int64_t row_bytes) {
    const int32_t kept = std::max(0, held_.end - need.begin);
    if (kept > 0 && need.begin > held_.begin) {
      std::memmove(band, band + (need.begin - held_.begin) * row_bytes,
                   static_cast<size_t>(kept * row_bytes));
    }
    const Range fresh = {need.begin + kept, std::max(need.end, need.begin + kept)};
    held_ = {need.begin, fresh.end};
    return fresh;
  }
  Range held() const { return held_; }

 private:
  Range held_ = {};
};

}  // namespace ds::engine
