// Matrix product of bytes by AVX2. Products of bytes in pairs (vpmaddubsw) would saturate: about
// one pair in twenty of a trained layer's weights may leave 16 bits, so that nearly every step has
// one. Hence bytes are widened, rows once for all channels and weights once for all rows of a tile,
// and multiplied as 16 bits (vpmaddwd), which is exact. A tile is 6 pixels by 8 channels.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kRows2 = 6;
constexpr int32_t kChannels2 = 8;

// ToByte for eight sums, stored as `count` bytes.
struct StoreBytes2 {
  explicit StoreBytes2(const Requantise& how)
      : low(_mm256_set1_ps(static_cast<float>(how.low - how.zero_point))),
        high(_mm256_set1_ps(static_cast<float>(how.high - how.zero_point))),
        zero(_mm256_set1_epi32(how.zero_point)) {}

  [[gnu::always_inline]] void operator()(__m256i sums, __m256 multiplier, int32_t count,
                                         char* out) const {
    const __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multiplier);
    // Not a number gives low: of two operands that do not compare, the second.
    const __m256i whole =
        _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(value, low), high)), zero);
    const __m256i words = _mm256_packs_epi32(whole, whole);
    const __m256i bytes = _mm256_packus_epi16(words, words);  // 4 in each lane
    const __m128i eight =
        _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    if (count >= kChannels2) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), eight);
    } else {
      const int64_t some = _mm_cvtsi128_si64(eight);
      std::memcpy(out, &some, static_cast<size_t>(count));
    }
  }

  __m256 low, high;
  __m256i zero;
};

// Of a panel: eight channels' weights, and what follows.
struct Eight2 {
  const int8_t* weights;
  int64_t step_bytes;  // from four of the depth to the next
  const int32_t* bias;
  const float* multiplier;
  int64_t channel;
  int32_t columns;  // of the eight
};

// A vector of sums has two for each of four channels, of even and odd pairs.
template <int kRows>
void RunTile2(const Tile<uint8_t>& tile, const int16_t* wide, int64_t depth, const Eight2& eight,
              const StoreBytes2& store) {
  __m256i sums[kRows][2];
  Unroll<kRows>([&](auto r) { sums[r][0] = sums[r][1] = _mm256_setzero_si256(); });
  const int8_t* weights = eight.weights;
  for (int64_t k = 0; k < depth; k += 4, weights += eight.step_bytes) {
    const __m256i w0 =
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights)));
    const __m256i w1 =
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights + 16)));
    Unroll<kRows>([&](auto r) {
      int64_t four;
      std::memcpy(&four, wide + r * depth + k, sizeof(four));
      const __m256i x = _mm256_set1_epi64x(four);
      __m256i even = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(x, w0));
      __m256i odd = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(x, w1));
      // One row after another: GCC 12 would load all rows first, and have no registers for sums.
      asm volatile("" : "+x"(even), "+x"(odd));
      sums[r][0] = even, sums[r][1] = odd;
    });
  }
  const __m256i bias = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(eight.bias));
  const __m256 multiplier = _mm256_loadu_ps(eight.multiplier);
  Unroll<kRows>([&](auto r) {
    const __m256i both = _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums[r][0], sums[r][1]), 0xd8);
    store(_mm256_add_epi32(both, bias), multiplier, eight.columns, tile.out[r] + eight.channel);
  });
}

using RunTwo = void (*)(const Tile<uint8_t>&, const int16_t*, int64_t, const Eight2&,
                        const StoreBytes2&);

template <size_t... kRows>
constexpr std::array<RunTwo, kRows2> TilesOf2(std::index_sequence<kRows...>) {
  return {RunTile2<static_cast<int>(kRows) + 1>...};
}

struct Copy2 {
  void operator()(void* to, const void* from, int64_t bytes) const {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  }
};

// A tile's rows as 16 bits, row after row.
inline void Widen2(const Tile<uint8_t>& tile, int64_t depth, int16_t* wide) {
  for (int32_t r = 0; r < tile.count; ++r) {
    int16_t* to = wide + r * depth;
    for (int32_t tap = 0; tap < tile.taps; ++tap) {
      const uint8_t* from = tile.rows[tap * kTilePointers + r];
      for (int32_t k = 0; k < tile.run; ++k) *to++ = from[k];
    }
  }
}

// Table and residual of a tile that was stored.
inline void FollowTile2(const Tile<uint8_t>& tile, const Requantise& how, int64_t channel,
                        int32_t count) {
  for (int32_t r = 0; r < tile.count; ++r) {
    uint8_t* out = reinterpret_cast<uint8_t*>(tile.out[r]) + channel;
    if (how.table) LookupRow(how.table, out, count, out);
    if (how.add) {
      AddRow(*how.add, out, reinterpret_cast<const uint8_t*>(tile.residual[r]) + channel, count,
             out);
    }
  }
}

using Blocks2 = Blocks<uint8_t, 4, kRows2>;

inline int64_t Avx2ConvScratch(const ConvShape& shape) {
  const Blocks2 blocks(shape);
  const int64_t wide = RoundUp(shape.Depth(), 4) * kRows2 * 2;
  return std::max(PlainConvScratch(shape),
                  RoundUp(blocks.ScratchBytes() + blocks.tiles * wide, 64));
}

inline void Avx2Conv8(const Conv8Args& args, Range rows, Range columns, void* scratch) {
  static constexpr auto kTiles = TilesOf2(std::make_index_sequence<kRows2>());
  const ConvShape& shape = args.shape;
  const Requantise& how = args.requantise;
  const int64_t depth = RoundUp(shape.Depth(), 4);
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  const StoreBytes2 store(how);
  int16_t* wide = reinterpret_cast<int16_t*>(static_cast<char*>(scratch) +
                                             RoundUp(Blocks2(shape).ScratchBytes(), 2));
  const auto place = [&](const Tile<uint8_t>& tile) { return wide + tile.number * kRows2 * depth; };
  RunBlocks<uint8_t, 4, kRows2>(
      args, how.residual, args.pad_value, rows, columns, scratch, Copy2(),
      [&](const Tile<uint8_t>& tile) { Widen2(tile, depth, place(tile)); },
      [&](const Tile<uint8_t>& tile, int32_t group, int32_t column, int32_t width) {
        const int32_t panel = PanelWidth(shape.out_channels - column);
        const int8_t* weights =
            static_cast<const int8_t*>(args.weights) + group * Group8Bytes(shape) + column * depth;
        for (int32_t c = 0; c < width; c += kChannels2) {
          const int64_t at = group * padded + column + c;
          const Eight2 eight{weights + c * 4,     panel * 4,  how.bias + at,
                             how.multiplier + at, column + c, std::min(kChannels2, width - c)};
          kTiles[static_cast<size_t>(tile.count - 1)](tile, place(tile), depth, eight, store);
        }
        if (how.table || how.add) FollowTile2(tile, how, column, width);
      });
}

}  // namespace
}  // namespace ds::engine
