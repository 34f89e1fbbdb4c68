// 3x3 convolutions of bytes by F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional
// Neural Networks" (2015), in exact integers: 16 products for four outputs instead of 36. Inputs
// become sums of four bytes, weights (doubled along both axes) sums of nine, both of at most 11
// bits and a sign; their products in 16 by 16 bits are summed in 32, and what comes out is four
// times the convolution's sum: nothing is rounded, so that the bytes are those of every other way.
// Weights are transformed from the packed ones on the way, 16 channels at a time, which costs as
// much as two tiles' products and no memory.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/pairs8_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kPoints = 16;                 // of the transformed domain: 4 x 4
constexpr int64_t kWinogradInputs = 320 << 10;  // bytes of transformed inputs aimed at
constexpr int32_t kMostWinogradTiles = 96;      // of a block
constexpr int32_t kFewestWinogradTiles = 12;    // below, transforming weights costs too much
// 4 * 255 * 128 * 9 * kMostWinogradDepth fits int32.
constexpr int32_t kMostWinogradDepth = 1024;

inline bool WinogradSuits(const ConvShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 && s.in_channels % 16 == 0 &&
         s.in_channels >= 32 && s.in_channels <= kMostWinogradDepth && s.out_channels >= 32;
}

// Scratch: padding, the block's inputs [point][six tiles][four channels][tile], a slice's weights
// [point][two channels][16 outputs], its sums [point][tile][16 outputs].
struct WinogradPlan {
  explicit WinogradPlan(const ConvShape& s) {
    const int64_t depth = s.in_channels;
    pad_bytes = RoundUp(depth, 64) + 64;
    sixes = static_cast<int32_t>(std::clamp<int64_t>(kWinogradInputs / (kPoints * 2 * depth),
                                                     kFewestWinogradTiles, kMostWinogradTiles) /
                                 kRows2);
    six_bytes = depth / 4 * kQuadBytes;
    // Not whole pages, lest all points' lines compete for the same few places of a cache.
    point_bytes = sixes * six_bytes + 64;
    weight_bytes = depth * kSlice2 * 2 + 64;
    sum_bytes = int64_t{sixes} * kRows2 * kSlice2 * 4;
  }
  int64_t ScratchBytes() const {
    return pad_bytes + kPoints * (point_bytes + weight_bytes + sum_bytes);
  }

  int32_t sixes;  // of tiles, of a block
  int64_t pad_bytes, six_bytes, point_bytes, weight_bytes, sum_bytes;
};

// Two by two output pixels.
struct WinogradTile {
  Pixel at;
  bool below, right;  // whether the second line and column are wanted
};

// B^T d B of Lavin and Gray along one axis, and G g, doubled.
[[gnu::always_inline]] inline void TransformInputs(const __m256i (&d)[4], __m256i (&out)[4]) {
  out[0] = _mm256_sub_epi16(d[0], d[2]);
  out[1] = _mm256_add_epi16(d[1], d[2]);
  out[2] = _mm256_sub_epi16(d[2], d[1]);
  out[3] = _mm256_sub_epi16(d[1], d[3]);
}
[[gnu::always_inline]] inline void TransformWeights(const __m256i (&g)[3], __m256i (&out)[4]) {
  const __m256i ends = _mm256_add_epi16(g[0], g[2]);
  out[0] = _mm256_add_epi16(g[0], g[0]);
  out[1] = _mm256_add_epi16(ends, g[1]);
  out[2] = _mm256_sub_epi16(ends, g[1]);
  out[3] = _mm256_add_epi16(g[2], g[2]);
}

template <bool kFour>
class Winograd {
 public:
  Winograd(const Conv8Args& args, void* scratch)
      : args_(args), shape_(args.shape), plan_(args.shape), finish_(args.requantise) {
    padding_ = static_cast<uint8_t*>(scratch);
    std::fill_n(padding_, plan_.pad_bytes, args.pad_value);
    inputs_ = static_cast<char*>(scratch) + plan_.pad_bytes;
    weights_ = inputs_ + kPoints * plan_.point_bytes;
    sums_ = weights_ + kPoints * plan_.weight_bytes;
  }

  // Lines of all images' outputs.
  void Run(Range lines, Range columns) {
    const int32_t most = plan_.sixes * kRows2;
    int32_t total = 0;
    ForTiles(lines, [&](const WinogradTile&) { ++total; });
    const int32_t blocks = (total + most - 1) / most, size = (total + blocks - 1) / blocks;
    count_ = 0;
    ForTiles(lines, [&](const WinogradTile& tile) {
      tiles_[count_++] = tile;
      if (count_ == size) RunBlock(columns);
    });
    if (count_ > 0) RunBlock(columns);
  }

 private:
  template <typename Each>
  void ForTiles(Range lines, Each each) {
    for (int32_t line = lines.begin; line < lines.end;) {
      const int32_t image = line / shape_.out_h, y = line % shape_.out_h;
      const bool below = line + 1 < lines.end && y + 1 < shape_.out_h;
      for (int32_t x = 0; x < shape_.out_w; x += 2)
        each(WinogradTile{{image, y, x}, below, x + 1 < shape_.out_w});
      line += below ? 2 : 1;
    }
  }

  // The first tile of a six, as even as can be.
  int32_t FirstOf(int32_t six, int32_t sixes) const { return count_ * six / sixes; }

  void RunBlock(Range columns) {
    const int32_t sixes = (count_ + kRows2 - 1) / kRows2;
    for (int32_t six = 0; six < sixes; ++six) {
      const int32_t first = FirstOf(six, sixes), end = FirstOf(six + 1, sixes);
      for (int32_t t = first; t < end; ++t)
        WriteInputs(tiles_[t], inputs_ + six * plan_.six_bytes + (t - first) * 8);
    }
    for (int32_t column = columns.begin; column < columns.end; column += kSlice2) {
      WriteWeights(column);
      for (int32_t point = 0; point < kPoints; ++point) {
        for (int32_t six = 0; six < sixes; ++six) {
          const int32_t first = FirstOf(six, sixes);
          Multiply(point, six, first, FirstOf(six + 1, sixes) - first);
        }
      }
      const int32_t width = std::min(kSlice2, columns.end - column);
      for (int32_t t = 0; t < count_; ++t) Finish(t, column, width);
    }
    count_ = 0;
  }

  // The 16 points of a tile: `to` is its place of the first four channels of the first point.
  void WriteInputs(const WinogradTile& tile, char* to) const {
    const uint8_t* pixels[4][4];
    const int32_t first_y = InputY(shape_, tile.at.y, 0), first_x = InputX(shape_, tile.at.x, 0);
    for (int32_t i = 0; i < 4; ++i) {
      for (int32_t j = 0; j < 4; ++j) {
        const int32_t y = first_y + i, x = first_x + j;
        const bool inside = Within(y, shape_.in_h) && Within(x, shape_.in_w);
        pixels[i][j] = inside ? At<uint8_t>(args_.input, {tile.at.image, y, x}) : padding_;
      }
    }
    // The order of the two values that share a product: see WordsOf().
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    const int64_t point_bytes = plan_.point_bytes;
    for (int32_t c = 0; c < shape_.in_channels; c += 16, to += 4 * kQuadBytes) {
      __m256i rows[4][4];  // [column][point of the row]
      for (int32_t j = 0; j < 4; ++j) {
        __m256i d[4];
        for (int32_t i = 0; i < 4; ++i)
          d[i] = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(Load128(pixels[i][j] + c), order));
        TransformInputs(d, rows[j]);
      }
      char* out = to;
      for (int32_t i = 0; i < 4; ++i) {
        __m256i points[4];
        TransformInputs({rows[0][i], rows[1][i], rows[2][i], rows[3][i]}, points);
        for (int32_t j = 0; j < 4; ++j, out += point_bytes) StoreQuads(points[j], out);
      }
    }
  }
  static void StoreQuads(__m256i quads, char* to) {
    const __m128d first = _mm_castsi128_pd(_mm256_castsi256_si128(quads));
    const __m128d last = _mm_castsi128_pd(_mm256_extracti128_si256(quads, 1));
    _mm_storel_pd(reinterpret_cast<double*>(to), first);
    _mm_storeh_pd(reinterpret_cast<double*>(to + kQuadBytes), first);
    _mm_storel_pd(reinterpret_cast<double*>(to + 2 * kQuadBytes), last);
    _mm_storeh_pd(reinterpret_cast<double*>(to + 3 * kQuadBytes), last);
  }

  // Those of 16 channels from `column` on.
  void WriteWeights(int32_t column) const {
    constexpr int32_t kStep = kFour ? 8 : 4;  // of the depth, 4 bytes a channel
    const int32_t first = column / kPanel * kPanel, depth = shape_.in_channels;
    const int64_t step_bytes = 4 * PanelWidth(shape_.out_channels - first);
    const auto* packed = static_cast<const int8_t*>(args_.weights) +
                         int64_t{9} * first * depth / (kFour ? 2 : 1) + (column - first) * 4;
    const int64_t tap_bytes = depth / kStep * step_bytes;
    // To the next slice: in this panel or the next one.
    const int64_t ahead = column == first ? 4 * kSlice2 : 9 * tap_bytes - 4 * kSlice2;
    char* to = weights_;
    for (int32_t c = 0; c < depth; c += kStep, packed += step_bytes) {
      for (int32_t tap = 0; tap < 9; ++tap) FetchBehind(packed, tap * tap_bytes + ahead);
      Unroll<kFour ? 4 : 2>([&](auto part) {
        WritePoints<part>(packed, tap_bytes, to);
        WritePoints<part>(packed + 32, tap_bytes, to + 32);
        to += kSlice2 * 4;
      });
    }
  }
  template <int kPart>
  void WritePoints(const int8_t* from, int64_t tap_bytes, char* to) const {
    __m256i rows[3][4];  // [column][point of the row]
    for (int32_t kx = 0; kx < 3; ++kx) {
      __m256i g[3];
      for (int32_t ky = 0; ky < 3; ++ky)
        g[ky] = WordsOf<kFour, kPart>(Load256(from + (ky * 3 + kx) * tap_bytes));
      TransformWeights(g, rows[kx]);
    }
    for (int32_t i = 0; i < 4; ++i) {
      __m256i points[4];
      TransformWeights({rows[0][i], rows[1][i], rows[2][i]}, points);
      for (int32_t j = 0; j < 4; ++j, to += plan_.weight_bytes) Store256(to, points[j]);
    }
  }

  template <int kRows>
  static void MultiplySix(const char* inputs, const char* weights, int64_t depth, char* to) {
    __m256i sums[kRows][2];
    Unroll<kRows>([&](auto r) { sums[r][0] = sums[r][1] = _mm256_setzero_si256(); });
    for (int64_t c = 0; c < depth; c += 4, inputs += kQuadBytes, weights += kSlice2 * 8) {
      Unroll<2>([&](auto pair) {
        const __m256i w0 = Load256(weights + pair * 64), w1 = Load256(weights + pair * 64 + 32);
        Unroll<kRows>([&](auto r) {
          MultiplyAddTwo(inputs + r * 8 + pair * 4, w0, w1, sums[r][0], sums[r][1]);
        });
      });
    }
    Unroll<kRows>([&](auto r) {
      Store256(to + r * 64, sums[r][0]);
      Store256(to + r * 64 + 32, sums[r][1]);
    });
  }
  void Multiply(int32_t point, int32_t six, int32_t first, int32_t count) const {
    static constexpr std::array<void (*)(const char*, const char*, int64_t, char*), kRows2> kSixes =
        {MultiplySix<1>, MultiplySix<2>, MultiplySix<3>,
         MultiplySix<4>, MultiplySix<5>, MultiplySix<6>};
    kSixes[static_cast<size_t>(count - 1)](
        inputs_ + point * plan_.point_bytes + six * plan_.six_bytes,
        weights_ + point * plan_.weight_bytes, shape_.in_channels,
        sums_ + point * plan_.sum_bytes + first * (kSlice2 * 4));
  }

  // The convolution's sums of eight channels at a tile's four pixels.
  void SumsOf(const char* from, __m256i bias, __m256i (&sums)[4]) const {
    __m256i rows[2][4];
    for (int32_t j = 0; j < 4; ++j) {
      __m256i m[4];
      for (int32_t i = 0; i < 4; ++i) m[i] = Load256(from + (i * 4 + j) * plan_.sum_bytes);
      const __m256i middle = _mm256_add_epi32(m[1], m[2]);
      rows[0][j] = _mm256_add_epi32(m[0], middle);
      rows[1][j] = _mm256_sub_epi32(_mm256_sub_epi32(m[1], m[2]), m[3]);
    }
    for (int32_t i = 0; i < 2; ++i) {
      const auto& m = rows[i];
      const __m256i left = _mm256_add_epi32(m[0], _mm256_add_epi32(m[1], m[2]));
      const __m256i right = _mm256_sub_epi32(_mm256_sub_epi32(m[1], m[2]), m[3]);
      sums[i * 2] = _mm256_add_epi32(_mm256_srai_epi32(left, 2), bias);
      sums[i * 2 + 1] = _mm256_add_epi32(_mm256_srai_epi32(right, 2), bias);
    }
  }

  void Finish(int32_t number, int32_t column, int32_t width) const {
    const Requantise& how = args_.requantise;
    const WinogradTile& tile = tiles_[number];
    const char* from = sums_ + number * (kSlice2 * 4);
    __m256i low[4], high[4];
    SumsOf(from, Load256(how.bias + column), low);
    SumsOf(from + 32, Load256(how.bias + column + 8), high);
    const __m256 first = _mm256_loadu_ps(how.multiplier + column);
    const __m256 last = _mm256_loadu_ps(how.multiplier + column + 8);
    for (int32_t i = 0; i <= (tile.below ? 1 : 0); ++i) {
      const Pixel left{tile.at.image, tile.at.y + i, tile.at.x};
      const Pixel right{left.image, left.y, left.x + (tile.right ? 1 : 0)};
      __m256i bytes =
          finish_.to_bytes(Scaled(low[i * 2], first), Scaled(high[i * 2], last),
                           Scaled(low[i * 2 + 1], first), Scaled(high[i * 2 + 1], last));
      if (finish_.table) bytes = Lookup256(finish_.table, bytes);
      if (finish_.adds) {
        bytes = finish_.adder(bytes,
                              _mm256_set_m128i(Load128(At<uint8_t>(how.residual, right) + column),
                                               Load128(At<uint8_t>(how.residual, left) + column)));
      }
      StoreFirst(At<uint8_t>(args_.output, left) + column, _mm256_castsi256_si128(bytes), width);
      if (tile.right) {
        StoreFirst(At<uint8_t>(args_.output, right) + column, _mm256_extracti128_si256(bytes, 1),
                   width);
      }
    }
  }

  const Conv8Args& args_;
  const ConvShape& shape_;
  const WinogradPlan plan_;
  const Finish2 finish_;
  uint8_t* padding_;
  char *inputs_, *weights_, *sums_;
  WinogradTile tiles_[kMostWinogradTiles];
  int32_t count_ = 0;
};

inline int64_t WinogradScratch(const ConvShape& shape) {
  return WinogradSuits(shape) ? WinogradPlan(shape).ScratchBytes() : 0;
}

// Whole lines of outputs by Winograd where the shape suits it; what is left, and all others, as
// they are.
template <bool kFour>
void WinogradOrDirect(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  const ConvShape& s = args.shape;
  const int32_t first = (rows.begin + s.out_w - 1) / s.out_w, end = rows.end / s.out_w;
  const int32_t tiles = (end - first + 1) / 2 * ((s.out_w + 1) / 2);
  if (!WinogradSuits(s) || end - first < 2 || tiles < kFewestWinogradTiles)
    return DirectConvBytes<kFour>(args, rows, columns, scratch);
  DirectConvBytes<kFour>(args, {rows.begin, first * s.out_w}, columns, scratch);
  Winograd<kFour>(args, scratch).Run({first, end}, columns);
  DirectConvBytes<kFour>(args, {end * s.out_w, rows.end}, columns, scratch);
}

}  // namespace
}  // namespace ds::engine
