// 3x3 convolutions of bytes by F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional
// Neural Networks" (2015), in exact integers: 36 products for sixteen outputs instead of 144. The
// fractions of its weights' transform (1/4, -1/6, 1/24) are left out, so that weights become whole
// numbers of at most 13 bits and a sign, and inputs (less 128) of at most 14; their products in 16
// by 16 bits are summed modulo 2^32. What comes out is 576 = 9 * 64 times the convolution's sum,
// modulo 2^32: a product with the inverse of 9 and a shift by 6 leave the sum itself, since it is
// below 2^25 in magnitude for at most kMostPart channels; of more channels, parts are added.
// Nothing is rounded, so that the bytes are those of every other way. Weights are transformed from
// the packed ones on the way, 16 channels at a time, which costs as much as two tiles' products
// and no memory.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/pairs8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/winograd_axis_inl.h"

namespace ds::engine {
namespace {

constexpr int64_t kWinogradInputs = 320 << 10;  // bytes of transformed inputs aimed at
constexpr int32_t kMostWinogradTiles = 96;      // of a block
constexpr int32_t kFewestWinogradTiles = 12;    // that a block has room for
constexpr int32_t kSixesTogether = 4;           // that share what is read of the weights
// Input channels of a part; 128 * 128 * 9 * kMostPart is below 2^25.
constexpr int32_t kMostPart = 128;
// More would take more scratch than caches.
constexpr int32_t kMostWinogradDepth = 1024;
constexpr int32_t kInverseOfNine = 954437177;  // 9 * 954437177 = 2 * 2^32 + 1
constexpr int kSixBits = 6;

inline bool WinogradSuits(const ConvShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 && s.in_channels % 16 == 0 &&
         s.in_channels <= kMostWinogradDepth && s.out_channels >= kSlice2;
}

// Whether so many lines of outputs take fewer steps so: a product of words is worth one and a half
// of bytes, and a weight's transform a hundred.
inline bool WinogradPays(const ConvShape& s, int32_t lines) {
  const int64_t tiles =
      int64_t{1} * ((lines + kOuts - 1) / kOuts) * ((s.out_w + kOuts - 1) / kOuts);
  return tiles * kPoints * 3 / 2 + 100 < int64_t{9} * lines * s.out_w;
}

// Scratch: padding, the block's inputs [point][six tiles][four channels][tile], a slice's weights
// [point][two channels][16 outputs] of a part of the depth, its sums [point][tile][16 outputs] of
// some sixes, and what earlier parts came to: [tile][half][pixel][8 outputs].
struct WinogradPlan {
  explicit WinogradPlan(const ConvShape& s) {
    const int32_t depth = s.in_channels;
    pad_bytes = RoundUp(depth, 64) + 64;
    const int64_t tiles = std::clamp<int64_t>(kWinogradInputs / (int64_t{kPoints} * 2 * depth),
                                              kFewestWinogradTiles, kMostWinogradTiles);
    sixes = static_cast<int32_t>((tiles + kRows2 - 1) / kRows2);
    six_bytes = depth / 4 * kQuadBytes;
    // Not whole pages, lest all points' lines compete for the same few places of a cache.
    point_bytes = sixes * six_bytes + 64;
    parts = (depth + kMostPart - 1) / kMostPart;
    part = static_cast<int32_t>(RoundUp((depth + parts - 1) / parts, 16));
    weight_bytes = part * kSlice2 * 2 + 64;
    sum_bytes = kSixesTogether * kRows2 * kSlice2 * 4;
    earlier_bytes = parts > 1 ? int64_t{sixes} * kRows2 * kTileSums : 0;
  }
  int64_t ScratchBytes() const {
    return pad_bytes + kPoints * (point_bytes + weight_bytes + sum_bytes) + earlier_bytes;
  }

  static constexpr int64_t kTileSums = kOuts * kOuts * kSlice2 * 4;
  int32_t sixes;        // of tiles, of a block
  int32_t parts, part;  // of the depth, and channels of each but the last
  int64_t pad_bytes, six_bytes, point_bytes, weight_bytes, sum_bytes, earlier_bytes;
};

// At most four by four output pixels.
struct WinogradTile {
  Pixel at;
  int32_t lines, columns;  // that are wanted
};

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
    earlier_ = sums_ + kPoints * plan_.sum_bytes;
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
      const int32_t some = std::min({kOuts, lines.end - line, shape_.out_h - y});
      for (int32_t x = 0; x < shape_.out_w; x += kOuts)
        each(WinogradTile{{image, y, x}, some, std::min(kOuts, shape_.out_w - x)});
      line += some;
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
      of_weights_[0] = of_weights_[1] = _mm256_setzero_si256();
      for (int32_t part = 0; part < plan_.parts; ++part) RunPart(column, columns.end, part, sixes);
    }
    count_ = 0;
  }

  // All tiles' sums of a part of the depth, and behind the last one what they become.
  void RunPart(int32_t column, int32_t end, int32_t part, int32_t sixes) {
    const Range depth{part * plan_.part, std::min((part + 1) * plan_.part, shape_.in_channels)};
    const int32_t width = std::min(kSlice2, end - column);
    WriteWeights(column, depth);
    for (int32_t some = 0; some < sixes; some += kSixesTogether) {
      const int32_t last = std::min(some + kSixesTogether, sixes);
      const int32_t first = FirstOf(some, sixes);
      for (int32_t point = 0; point < kPoints; ++point) {
        for (int32_t six = some; six < last; ++six) {
          const int32_t tile = FirstOf(six, sixes);
          Multiply(point, six, depth, FirstOf(six + 1, sixes) - tile, tile - first);
        }
      }
      for (int32_t t = first; t < FirstOf(last, sixes); ++t) {
        __m256i sums[2][kOuts * kOuts];
        for (int32_t half = 0; half < 2; ++half)
          SumsOf(sums_ + (t - first) * (kSlice2 * 4) + half * 32, sums[half]);
        if (plan_.parts > 1) AddEarlier(t, part, sums);
        if (part + 1 == plan_.parts) Finish(tiles_[t], column, width, sums);
      }
    }
  }

  // The points of a tile: `to` is its place of the first four channels of the first point.
  void WriteInputs(const WinogradTile& tile, char* to) const {
    const uint8_t* pixels[kIns][kIns];
    const int32_t first_y = InputY(shape_, tile.at.y, 0), first_x = InputX(shape_, tile.at.x, 0);
    for (int32_t i = 0; i < kIns; ++i) {
      for (int32_t j = 0; j < kIns; ++j) {
        const int32_t y = first_y + i, x = first_x + j;
        const bool inside = Within(y, shape_.in_h) && Within(x, shape_.in_w);
        pixels[i][j] = inside ? At<uint8_t>(args_.input, {tile.at.image, y, x}) : padding_;
      }
    }
    // The order of the two values that share a product: see WordsOf().
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    const __m128i less128 = _mm_set1_epi8(INT8_MIN);
    const int64_t point_bytes = plan_.point_bytes;
    for (int32_t c = 0; c < shape_.in_channels; c += 16, to += 4 * kQuadBytes) {
      __m256i rows[kIns][kIns];  // [column][point of the row]
      for (int32_t j = 0; j < kIns; ++j) {
        __m256i d[kIns];
        for (int32_t i = 0; i < kIns; ++i) {
          const __m128i bytes = _mm_xor_si128(Load128(pixels[i][j] + c), less128);
          d[i] = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
        }
        TransformInputs(d, rows[j]);
      }
      char* out = to;
      for (int32_t i = 0; i < kIns; ++i) {
        __m256i points[kIns];
        TransformInputs({rows[0][i], rows[1][i], rows[2][i], rows[3][i], rows[4][i], rows[5][i]},
                        points);
        for (int32_t j = 0; j < kIns; ++j, out += point_bytes) StoreQuads(points[j], out);
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

  // Those of 16 channels from `column` on, of a part of the depth; and what they come to.
  void WriteWeights(int32_t column, Range part) {
    constexpr int32_t kStep = kFour ? 8 : 4;  // of the depth, 4 bytes a channel
    const int32_t first = column / kPanel * kPanel, depth = shape_.in_channels;
    const int64_t step_bytes = 4 * PanelWidth(shape_.out_channels - first);
    const auto* packed = static_cast<const int8_t*>(args_.weights) +
                         int64_t{9} * first * depth / (kFour ? 2 : 1) + (column - first) * 4 +
                         part.begin / kStep * step_bytes;
    const int64_t tap_bytes = depth / kStep * step_bytes;
    // To the next slice: in this panel or the next one.
    const int64_t ahead = column == first ? 4 * kSlice2 : 9 * tap_bytes - 4 * kSlice2;
    char* to = weights_;
    for (int32_t c = part.begin; c < part.end; c += kStep, packed += step_bytes) {
      for (int32_t tap = 0; tap < 9; ++tap) FetchBehind(packed, tap * tap_bytes + ahead);
      Unroll<kFour ? 4 : 2>([&](auto which) {
        WritePoints<which>(packed, tap_bytes, to, of_weights_[0]);
        WritePoints<which>(packed + 32, tap_bytes, to + 32, of_weights_[1]);
        to += kSlice2 * 4;
      });
    }
  }
  template <int kPart>
  void WritePoints(const int8_t* from, int64_t tap_bytes, char* to, __m256i& of_weights) const {
    __m256i rows[3][kIns];  // [column][point of the row]
    for (int32_t kx = 0; kx < 3; ++kx) {
      __m256i g[3];
      for (int32_t ky = 0; ky < 3; ++ky)
        g[ky] = WordsOf<kFour, kPart>(Load256(from + (ky * 3 + kx) * tap_bytes));
      TransformWeights(g, rows[kx]);
    }
    for (int32_t i = 0; i < kIns; ++i) {
      __m256i points[kIns];
      TransformWeights({rows[0][i], rows[1][i], rows[2][i]}, points);
      // This point of all nine is their sum.
      if (i == 1)
        of_weights =
            _mm256_add_epi32(of_weights, _mm256_madd_epi16(points[1], _mm256_set1_epi16(1)));
      for (int32_t j = 0; j < kIns; ++j, to += plan_.weight_bytes) Store256(to, points[j]);
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
  // Of `count` tiles of a six, to the place of tile `at`.
  void Multiply(int32_t point, int32_t six, Range depth, int32_t count, int32_t at) const {
    static constexpr std::array<void (*)(const char*, const char*, int64_t, char*), kRows2> kSixes =
        {MultiplySix<1>, MultiplySix<2>, MultiplySix<3>,
         MultiplySix<4>, MultiplySix<5>, MultiplySix<6>};
    kSixes[static_cast<size_t>(count - 1)](
        inputs_ + point * plan_.point_bytes + six * plan_.six_bytes + depth.begin / 4 * kQuadBytes,
        weights_ + point * plan_.weight_bytes, depth.end - depth.begin,
        sums_ + point * plan_.sum_bytes + at * (kSlice2 * 4));
  }

  // A part's sums of eight channels at a tile's pixels, of inputs less 128.
  void SumsOf(const char* from, __m256i (&sums)[kOuts * kOuts]) const {
    __m256i rows[kOuts][kIns];
    for (int32_t j = 0; j < kIns; ++j) {
      __m256i m[kIns], column[kOuts];
      for (int32_t i = 0; i < kIns; ++i) m[i] = Load256(from + (i * kIns + j) * plan_.sum_bytes);
      TransformSums(m, column);
      for (int32_t i = 0; i < kOuts; ++i) rows[i][j] = column[i];
    }
    const __m256i inverse = _mm256_set1_epi32(kInverseOfNine);
    for (int32_t i = 0; i < kOuts; ++i) {
      __m256i line[kOuts];
      TransformSums(rows[i], line);
      for (int32_t j = 0; j < kOuts; ++j)
        sums[i * kOuts + j] = _mm256_srai_epi32(_mm256_mullo_epi32(line[j], inverse), kSixBits);
    }
  }

  // Adds what the parts before this one came to, and keeps it for the next one.
  void AddEarlier(int32_t tile, int32_t part, __m256i (&sums)[2][kOuts * kOuts]) const {
    char* at = earlier_ + tile * WinogradPlan::kTileSums;
    for (int32_t i = 0; i < 2 * kOuts * kOuts; ++i, at += 32) {
      __m256i& sum = sums[i / (kOuts * kOuts)][i % (kOuts * kOuts)];
      if (part > 0) sum = _mm256_add_epi32(sum, Load256(at));
      Store256(at, sum);
    }
  }

  void Finish(const WinogradTile& tile, int32_t column, int32_t width,
              const __m256i (&sums)[2][kOuts * kOuts]) const {
    const Requantise& how = args_.requantise;
    __m256i bias[2];
    __m256 multiplier[2];
    for (int32_t half = 0; half < 2; ++half) {
      bias[half] = _mm256_add_epi32(Load256(how.bias + column + half * 8),
                                    _mm256_slli_epi32(of_weights_[half], 7));
      multiplier[half] = _mm256_loadu_ps(how.multiplier + column + half * 8);
    }
    const auto value = [&](int32_t half, int32_t pixel) __attribute__((always_inline)) {
      return Scaled(_mm256_add_epi32(sums[half][pixel], bias[half]), multiplier[half]);
    };
    for (int32_t i = 0; i < tile.lines; ++i) {
      for (int32_t j = 0; j < tile.columns; j += 2) {
        const bool both = j + 1 < tile.columns;
        const int32_t pixel = i * kOuts + j;
        const Pixel left{tile.at.image, tile.at.y + i, tile.at.x + j};
        const Pixel right{left.image, left.y, left.x + (both ? 1 : 0)};
        __m256i bytes = finish_.to_bytes(value(0, pixel), value(1, pixel), value(0, pixel + 1),
                                         value(1, pixel + 1));
        if (finish_.table) bytes = Lookup256(finish_.table, bytes);
        if (finish_.adds) {
          bytes = finish_.adder(
              bytes, _mm256_set_m128i(Load128(At<uint8_t>(how.residual, right) + column),
                                      Load128(At<uint8_t>(how.residual, left) + column)));
        }
        StoreFirst(At<uint8_t>(args_.output, left) + column, _mm256_castsi256_si128(bytes), width);
        if (both) {
          StoreFirst(At<uint8_t>(args_.output, right) + column, _mm256_extracti128_si256(bytes, 1),
                     width);
        }
      }
    }
  }

  const Conv8Args& args_;
  const ConvShape& shape_;
  const WinogradPlan plan_;
  const Finish2 finish_;
  uint8_t* padding_;
  char *inputs_, *weights_, *sums_, *earlier_;
  __m256i of_weights_[2] = {};  // a slice's weights' sums, of the parts so far
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
  if (!WinogradSuits(s) || end <= first || !WinogradPays(s, end - first))
    return DirectConvBytes<kFour>(args, rows, columns, scratch);
  DirectConvBytes<kFour>(args, {rows.begin, first * s.out_w}, columns, scratch);
  Winograd<kFour>(args, scratch).Run({first, end}, columns);
  DirectConvBytes<kFour>(args, {end * s.out_w, rows.end}, columns, scratch);
}

}  // namespace
}  // namespace ds::engine
