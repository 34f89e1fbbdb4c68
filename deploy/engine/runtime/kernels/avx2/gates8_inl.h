// Codes times gates: multiply8 where every row has the same second operand, as in squeeze-excite.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"

namespace ds::engine {
namespace {

// Multiply8 for 32 codes and as many gates, words without their zero point.
class Gater256 {
 public:
  // Whether no product leaves int32 once scaled: then packing saturates, and bounds are bytes'.
  static bool Takes(const Multiply8& how) { return std::fabs(how.ratio) * (255 * 255) < 0x1p30f; }

  explicit Gater256(const Multiply8& how)
      : zero_a_(_mm256_set1_epi16(static_cast<int16_t>(how.zero_a))),
        zero_(_mm256_set1_epi16(static_cast<int16_t>(how.zero_point))),
        low_(_mm256_set1_epi8(static_cast<char>(how.low))),
        high_(_mm256_set1_epi8(static_cast<char>(how.high))),
        ratio_(_mm256_set1_ps(how.ratio)),
        table_(how.table) {}

  [[gnu::always_inline]] __m256i operator()(__m256i codes, const int16_t* gates) const {
    const __m256i first = Words(_mm256_castsi256_si128(codes), Load256(gates));
    const __m256i second = Words(_mm256_extracti128_si256(codes, 1), Load256(gates + 16));
    const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(first, second), 0xd8);
    const __m256i bounded = _mm256_max_epu8(_mm256_min_epu8(bytes, high_), low_);
    return table_ ? Lookup256(table_, bounded) : bounded;
  }

 private:
  // Sixteen results, not bounded yet. What unpacking takes apart within lanes, packing joins.
  [[gnu::always_inline]] __m256i Words(__m128i codes, __m256i gates) const {
    const __m256i a = _mm256_sub_epi16(_mm256_cvtepu8_epi16(codes), zero_a_);
    const __m256i below = _mm256_mullo_epi16(a, gates), above = _mm256_mulhi_epi16(a, gates);
    const __m256i x = Rounded(_mm256_unpacklo_epi16(below, above));
    const __m256i y = Rounded(_mm256_unpackhi_epi16(below, above));
    return _mm256_adds_epi16(_mm256_packs_epi32(x, y), zero_);
  }
  [[gnu::always_inline]] __m256i Rounded(__m256i products) const {
    return _mm256_cvtps_epi32(Scaled(products, ratio_));
  }

  __m256i zero_a_, zero_, low_, high_;
  __m256 ratio_;
  const uint8_t* table_;
};

// A row of 32 codes or more. The last ones are read before any is written, which may be the same.
[[gnu::always_inline]] inline void GateRow256(const Gater256& gater, const uint8_t* in,
                                              const int16_t* gates, int32_t count, uint8_t* out) {
  const int32_t end = count - 32;
  const __m256i last = Load256(in + end);
  for (int32_t i = 0; i < end; i += 32) Store256(out + i, gater(Load256(in + i), gates + i));
  Store256(out + end, gater(last, gates + end));
}

// Whether it pays: the gates' own work is once a call.
inline bool TakesGates256(const Multiply8Args& args, Range rows) {
  return args.b.stride == 0 && args.columns >= 32 && rows.end - rows.begin >= 4 &&
         Gater256::Takes(args.multiply);
}

inline void GateRows256(const Multiply8Args& args, Range rows) {
  constexpr int32_t kChannels = 1024;  // at a time; the last ones are 32 at least
  alignas(32) int16_t gates[kChannels + 32];
  const Gater256 gater(args.multiply);
  const auto* b = static_cast<const uint8_t*>(args.b.data);
  for (int32_t first = 0; first < args.columns;) {
    const int32_t left = args.columns - first;
    const int32_t count = left < kChannels + 32 ? left : kChannels;
    for (int32_t c = 0; c < count; ++c)
      gates[c] = static_cast<int16_t>(b[first + c] - args.multiply.zero_b);
    for (int32_t row = rows.begin; row < rows.end; ++row) {
      GateRow256(gater, RowAt<uint8_t>(args.a, row) + first, gates, count,
                 RowAt<uint8_t>(args.output, row) + first);
    }
    first += count;
  }
}

}  // namespace
}  // namespace ds::engine
