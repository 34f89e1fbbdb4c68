// From a tile's sums to its bytes: requantised, looked up, added to the residual, and stored.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/blocks_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kSlice2 = 16;  // channels of a tile

// Of a panel: sixteen channels' weights, and what follows.
struct Slice2 {
  const int8_t* weights;
  int64_t step_bytes;  // of a step of the panel
  const int32_t* bias;
  const float* multiplier;
  int64_t channel;
  int32_t columns;     // of the sixteen, or of the panel
  bool plain = false;  // IsPlain()
};

// What all tiles of a convolution have in common.
struct Finish2 {
  explicit Finish2(const Requantise& how)
      : to_bytes(how.zero_point, how.low, how.high),
        plain(how.zero_point, how.low, how.high),
        table(how.table),
        adds(how.add != nullptr),
        joins(Joiner256::Suits(how)),
        adder(how.add ? *how.add : Add8()),
        joiner(how, how.add ? *how.add : Add8()) {}

  ToBytes256 to_bytes;
  PlainBytes256 plain;
  const uint8_t* table;
  bool adds, joins;
  Adder256 adder;
  Joiner256 joiner;
};

// Whether nothing follows the products of a slice of sixteen channels, and they are small.
inline bool IsPlain(const Slice2& slice, const Finish2& finish) {
  if (finish.adds || finish.table || slice.columns < kSlice2) return false;
  return AreSmall(slice.multiplier, kSlice2);
}

// Row `at` of those that fill 32 bytes, kVectors * 8 bytes each: stores it.
template <int kVectors>
[[gnu::always_inline]] inline void StorePart2(char* out, __m256i bytes, int at, int32_t columns) {
  uint8_t* to = reinterpret_cast<uint8_t*>(out);
  if (kVectors == 4) {
    if (columns >= 32) return Store256(to, bytes);
    return StoreFirst32(to, bytes, columns);
  }
  const __m128i half =
      at * kVectors < 2 ? _mm256_castsi256_si128(bytes) : _mm256_extracti128_si256(bytes, 1);
  if (kVectors == 2) return StoreFirst(to, half, columns);
  const __m128i part = at % 2 == 0 ? half : _mm_unpackhi_epi64(half, half);
  if (columns == 8)
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), part);
  else
    StoreFirst(to, part, columns);
}

// The residuals of rows that fill 32 bytes, from `first` on; those behind the last are its own.
template <int kRows, int kVectors>
[[gnu::always_inline]] inline __m256i Residuals2(const Tile<uint8_t>& tile, int first,
                                                 int64_t channel) {
  const auto at = [&](int r) { return tile.residual[std::min(first + r, kRows - 1)] + channel; };
  const auto eight = [&](int r) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at(r)));
  };
  if constexpr (kVectors == 4) return Load256(at(0));
  if constexpr (kVectors == 2) return _mm256_set_m128i(Load128(at(1)), Load128(at(0)));
  return _mm256_set_m128i(_mm_unpacklo_epi64(eight(2), eight(3)),
                          _mm_unpacklo_epi64(eight(0), eight(1)));
}

template <bool kJoins, int kRows, int kVectors>
[[gnu::always_inline]] inline void StoreSums2(const Tile<uint8_t>& tile, const Slice2& slice,
                                              const Finish2& finish,
                                              const __m256i (&sums)[kRows][kVectors]) {
  constexpr int kTogether = 4 / kVectors;  // rows that fill 32 bytes
  __m256 multiplier[kVectors];
  Unroll<kVectors>([&](auto v) { multiplier[v] = _mm256_loadu_ps(slice.multiplier + v * 8); });
  Unroll<(kRows + kTogether - 1) / kTogether>([&](auto part) __attribute__((always_inline)) {
    constexpr int kFirst = part * kTogether;
    __m256 values[4];
    Unroll<4>([&](auto i) __attribute__((always_inline)) {
      constexpr int kRow = std::min(kFirst + i / kVectors, kRows - 1);
      values[i] = Scaled(sums[kRow][i % kVectors], multiplier[i % kVectors]);
      if constexpr (kJoins) {
        const char* other = tile.residual[kRow] + slice.channel + i % kVectors * 8;
        values[i] = finish.joiner(values[i], other);
      }
    });
    const ToBytes256& to_bytes = kJoins ? finish.adder.to_bytes : finish.to_bytes;
    __m256i bytes = to_bytes(values[0], values[1], values[2], values[3]);
    const uint8_t* table = kJoins ? finish.adder.table : finish.table;
    if (table) bytes = Lookup256(table, bytes);
    if (!kJoins && finish.adds)
      bytes = finish.adder(bytes, Residuals2<kRows, kVectors>(tile, kFirst, slice.channel));
    Unroll<kTogether>([&](auto r) __attribute__((always_inline)) {
      if constexpr (kFirst + r < kRows)
        StorePart2<kVectors>(tile.out[kFirst + r] + slice.channel, bytes, r, slice.columns);
    });
  });
}

template <int kRows>
[[gnu::always_inline]] inline void StorePlain2(const Tile<uint8_t>& tile, const Slice2& slice,
                                               const PlainBytes256& plain,
                                               const __m256i (&sums)[kRows][2]) {
  const __m256 a = _mm256_loadu_ps(slice.multiplier), b = _mm256_loadu_ps(slice.multiplier + 8);
  const auto words = [&](int r) __attribute__((always_inline)) {
    return plain.Words(Scaled(sums[r][0], a), Scaled(sums[r][1], b));
  };
  Unroll<kRows / 2>([&](auto pair) __attribute__((always_inline)) {
    constexpr int kFirst = 2 * pair;
    plain.Store(words(kFirst), words(kFirst + 1), tile.out[kFirst] + slice.channel,
                tile.out[kFirst + 1] + slice.channel);
  });
  if constexpr (kRows % 2 == 1) plain.Store(words(kRows - 1), tile.out[kRows - 1] + slice.channel);
}

template <int kRows, int kVectors>
[[gnu::always_inline]] inline void StoreTile2(const Tile<uint8_t>& tile, const Slice2& slice,
                                              const Finish2& finish,
                                              const __m256i (&sums)[kRows][kVectors]) {
  if constexpr (kVectors == 2) {
    if (slice.plain) return StorePlain2<kRows>(tile, slice, finish.plain, sums);
  }
  finish.joins ? StoreSums2<true>(tile, slice, finish, sums)
               : StoreSums2<false>(tile, slice, finish, sums);
}

}  // namespace
}  // namespace ds::engine
