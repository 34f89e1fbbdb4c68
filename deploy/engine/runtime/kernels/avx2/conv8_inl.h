// Matrix product of bytes by AVX2, of 8-bit weights for few rows and for images (otherwise:
// pairs8_inl.h), and of 4-bit weights. Bytes are widened and multiplied as 16 bits (vpmaddwd),
// which is exact: those of a tile's rows once for all channels, weights in registers, by shifts. A
// tile is 6 pixels by 16 channels, 12 vectors of sums.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/kernels/avx2/store8_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kRows2 = 6;
// Bytes of weights that a single row fetches ahead of itself.
constexpr int64_t kFetchAhead = 2048;
constexpr int32_t kFewRows2 = 2;  // so few take all channels of a panel at once

// A tile's widened rows: for each four of the depth, row after row, values 0, 2, 1 and 3 of the
// four; the same order as shifting leaves weights in.
constexpr int64_t kQuadBytes = kRows2 * 8;
constexpr int64_t kWideSlack = 4 * kQuadBytes;  // written behind the last four

constexpr int64_t WideTileBytes(int64_t depth) {
  return RoundUp(depth / 4 * kQuadBytes + kWideSlack, 64);
}

// Words from the packed bytes of a step, two a channel. Of 8 bits: values 0 and 2 (kPart 0), 1 and
// 3 (kPart 1). Of 4 bits: the same of the low halves, then of the high ones.
template <bool kFour, int kPart>
[[gnu::always_inline]] inline __m256i WordsOf(__m256i packed) {
  constexpr int kBits = kFour ? 4 : 8;
  constexpr int kLeft = kPart == 0 ? 16 - kBits : kPart == 1 ? 8 - kBits : kPart == 2 ? 8 : 0;
  if constexpr (kLeft > 0) packed = _mm256_slli_epi16(packed, kLeft);
  return _mm256_srai_epi16(packed, 16 - kBits);
}

// The line `bytes` behind `from`, which may lie behind all there is.
[[gnu::always_inline]] inline void FetchBehind(const int8_t* from, int64_t bytes) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(from) + static_cast<uintptr_t>(bytes);
  _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T1);
}

// In this order and once more where it is read again: GCC 12 would keep what it has loaded, and
// have no registers for sums.
[[gnu::always_inline]] inline __m256i LoadHere(const int8_t* from) {
  __m256i value;
  asm volatile("vmovdqu %1, %0" : "=x"(value) : "m"(*reinterpret_cast<const __m256i_u*>(from)));
  return value;
}

// a += x * wa and b += x * wb, x the pair of words at `from`.
[[gnu::always_inline]] inline void MultiplyAddTwo(const char* from, __m256i wa, __m256i wb,
                                                  __m256i& a, __m256i& b) {
  __m256i x, product, sum_a = a, sum_b = b;
  asm volatile(
      "vpbroadcastd %4, %2\n\tvpmaddwd %5, %2, %3\n\tvpmaddwd %6, %2, %2\n\t"
      "vpaddd %3, %0, %0\n\tvpaddd %2, %1, %1"
      : "+x"(sum_a), "+x"(sum_b), "=&x"(x), "=&x"(product)
      : "m"(*reinterpret_cast<const int32_t*>(from)), "x"(wa), "x"(wb));
  a = sum_a, b = sum_b;
}
[[gnu::always_inline]] inline void MultiplyAddOne(const char* from, __m256i w, __m256i& sum) {
  __m256i x, total = sum;
  asm volatile("vpbroadcastd %2, %1\n\tvpmaddwd %3, %1, %1\n\tvpaddd %1, %0, %0"
               : "+x"(total), "=&x"(x)
               : "m"(*reinterpret_cast<const int32_t*>(from)), "x"(w));
  sum = total;
}

template <int kRows, int kVectors, bool kFour>
void RunTile2(const Tile<uint8_t>& tile, const Slice2& slice, const char* wide, int64_t depth,
              const Finish2& finish) {
  __m256i sums[kRows][kVectors];
  Unroll<kVectors>([&](auto v) {
    const __m256i bias = Load256(slice.bias + v * 8);
    Unroll<kRows>([&](auto r) { sums[r][v] = bias; });
  });
  constexpr int kQuads = kFour ? 2 : 1;  // of a step
  const int8_t* weights = slice.weights;
  for (const char* end = wide + depth / 4 * kQuadBytes; wide < end; wide += kQuads * kQuadBytes) {
    Unroll<2 * kQuads>([&](auto part) {
      __m256i w[kVectors];
      Unroll<kVectors>([&](auto v) { w[v] = WordsOf<kFour, part>(LoadHere(weights + v * 32)); });
      const char* at = wide + part / 2 * kQuadBytes + part % 2 * 4;
      Unroll<kRows>([&](auto r) {
        if constexpr (kVectors == 1) MultiplyAddOne(at + r * 8, w[0], sums[r][0]);
        Unroll<kVectors / 2>([&](auto v) {
          MultiplyAddTwo(at + r * 8, w[2 * v], w[2 * v + 1], sums[r][2 * v], sums[r][2 * v + 1]);
        });
      });
    });
    // A row reads weights once, faster than the processor fetches them ahead of itself.
    if constexpr (kVectors == 4) {
      FetchBehind(weights, kFetchAhead);
      FetchBehind(weights, kFetchAhead + 64);
    }
    weights += slice.step_bytes;
  }
  StoreTile2<kRows, kVectors>(tile, slice, finish, sums);
}

using RunTwo = void (*)(const Tile<uint8_t>&, const Slice2&, const char*, int64_t, const Finish2&);

template <int kVectors, bool kFour, size_t... kRows>
constexpr std::array<RunTwo, sizeof...(kRows)> TilesOf2(std::index_sequence<kRows...>) {
  return {RunTile2<static_cast<int>(kRows) + 1, kVectors, kFour>...};
}

// For GatherRuns(): whole vectors, within what may be read and written behind a row.
struct Copy256 {
  [[gnu::always_inline]] void operator()(void* to, const void* from, int64_t bytes) const {
    if (bytes <= 16) return _mm_storeu_si128(static_cast<__m128i*>(to), Load128(from));
    for (int64_t i = 0; i < bytes; i += 32)
      Store256(static_cast<char*>(to) + i, Load256(static_cast<const char*>(from) + i));
  }
};

// A tile's rows as RunTile2() reads them.
inline void WidenTile2(const Tile<uint8_t>& tile, char* wide) {
  const int32_t count = tile.count, taps = tile.taps, run = tile.run;
  const __m128i low = _mm_set1_epi16(0xff);
  for (int32_t r = 0; r < count; ++r) {
    char* to = wide + r * 8;
    for (int32_t tap = 0; tap < taps; ++tap, to += run / 4 * kQuadBytes) {
      const uint8_t* from = tile.rows[tap * kTilePointers + r];
      char* at = to;
      for (int32_t k = 0; k < run; k += 16, at += 4 * kQuadBytes) {
        const __m128i bytes = Load128(from + k);
        const __m128i even = _mm_and_si128(bytes, low), odd = _mm_srli_epi16(bytes, 8);
        const __m128i first = _mm_unpacklo_epi32(even, odd);
        const __m128i second = _mm_unpackhi_epi32(even, odd);
        _mm_storel_pd(reinterpret_cast<double*>(at), _mm_castsi128_pd(first));
        _mm_storeh_pd(reinterpret_cast<double*>(at + kQuadBytes), _mm_castsi128_pd(first));
        _mm_storel_pd(reinterpret_cast<double*>(at + 2 * kQuadBytes), _mm_castsi128_pd(second));
        _mm_storeh_pd(reinterpret_cast<double*>(at + 3 * kQuadBytes), _mm_castsi128_pd(second));
      }
    }
  }
}

template <bool kFour>
using Blocks2 = Blocks<uint8_t, kFour ? 8 : 4, kRows2>;

inline int64_t WordConvScratch(const ConvShape& shape) {
  const auto bytes = [&](const auto& blocks, int64_t depth) {
    return RoundUp(blocks.ScratchBytes(), 64) + blocks.tiles * WideTileBytes(depth);
  };
  return std::max(bytes(Blocks2<false>(shape), RoundUp(shape.Depth(), 4)),
                  bytes(Blocks2<true>(shape), RoundUp(shape.Depth(), 8)));
}

// A tile's sums and results in at most kPanel channels, from its widened rows.
template <bool kFour>
void RunWords(const Conv8Args& args, const Finish2& finish, const Tile<uint8_t>& tile,
              const char* wide, int32_t group, int32_t column, int32_t width) {
  static constexpr auto kOne = TilesOf2<1, kFour>(std::make_index_sequence<kRows2>());
  static constexpr auto kTwo = TilesOf2<2, kFour>(std::make_index_sequence<kRows2>());
  static constexpr auto kAll = TilesOf2<4, kFour>(std::make_index_sequence<kFewRows2>());
  const ConvShape& shape = args.shape;
  const Requantise& how = args.requantise;
  const int64_t depth = RoundUp(shape.Depth(), kFour ? 8 : 4);
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  const int64_t group_bytes = kFour ? Group4Bytes(shape) : Group8Bytes(shape);
  const int32_t panel = PanelWidth(shape.out_channels - column);
  const int8_t* weights = static_cast<const int8_t*>(args.weights) + group * group_bytes +
                          column * depth / (kFour ? 2 : 1);
  const bool whole = tile.count <= kFewRows2 && width > kSlice2;
  const int32_t step = whole ? kPanel : kSlice2;
  for (int32_t c = 0; c < width; c += step) {
    const int64_t at = group * padded + column + c;
    Slice2 slice{weights + c * 4,     panel * 4,  how.bias + at,
                 how.multiplier + at, column + c, std::min(step, width - c)};
    slice.plain = !whole && IsPlain(slice, finish);
    const RunTwo* tiles = whole ? kAll.data() : slice.columns > 8 ? kTwo.data() : kOne.data();
    tiles[tile.count - 1](tile, slice, wide, depth, finish);
  }
}

template <bool kFour>
void WordConvBytes(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  constexpr int32_t kStep = kFour ? 8 : 4;
  const int64_t tile_bytes = WideTileBytes(RoundUp(args.shape.Depth(), kStep));
  const Finish2 finish(args.requantise);
  char* wide = static_cast<char*>(scratch) + RoundUp(Blocks2<kFour>(args.shape).ScratchBytes(), 64);
  RunBlocks<uint8_t, kStep, kRows2>(
      args, args.requantise.residual, args.pad_value, rows, columns, scratch, Copy256(),
      [&](const Tile<uint8_t>& tile) { WidenTile2(tile, wide + tile.number * tile_bytes); },
      [&](const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
        RunWords<kFour>(args, finish, tile, wide + tile.number * tile_bytes, group, column, width);
      });
}

}  // namespace
}  // namespace ds::engine
