// From sums to bytes, 32 at a time, and what follows a store: the table and the residual.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

inline __m256i Load256(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline void Store256(void* to, __m256i value) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), value);
}
inline __m128i Load128(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

// The first `count` of 16 bytes.
[[gnu::always_inline]] inline void StoreFirst(void* to, __m128i bytes, int32_t count) {
  if (count >= 16) return _mm_storeu_si128(static_cast<__m128i*>(to), bytes);
  char* at = static_cast<char*>(to);
  if (count & 8) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(at), bytes);
    bytes = _mm_srli_si128(bytes, 8), at += 8;
  }
  int64_t rest = _mm_cvtsi128_si64(bytes);
  if (count & 4) {
    std::memcpy(at, &rest, 4);
    rest >>= 32, at += 4;
  }
  for (int32_t i = 0; i < (count & 3); ++i, rest >>= 8) at[i] = static_cast<char>(rest);
}

// The first `count` of 32 bytes, read one by one; the rest are zeros.
struct Some256 {
  Some256(const uint8_t* from, int32_t count) {
    int32_t i = 0;
    for (; i + 8 <= count; i += 8) std::memcpy(bytes + i, from + i, 8);
    for (; i < count; ++i) bytes[i] = from[i];
  }
  alignas(32) uint8_t bytes[32] = {};
};

// ToByte for four vectors of eight floats, in their order.
struct ToBytes256 {
  ToBytes256(int32_t zero_point, int32_t low, int32_t high)
      : high_(_mm256_set1_ps(static_cast<float>(high - zero_point))),
        low_(_mm256_set1_epi8(static_cast<char>(low))),
        zero_(_mm256_set1_epi16(static_cast<int16_t>(zero_point))),
        order_(_mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)) {}

  [[gnu::always_inline]] __m256i operator()(__m256 v0, __m256 v1, __m256 v2, __m256 v3) const {
    return _mm256_permutevar8x32_epi32(Lanes(v0, v1, v2, v3), order_);
  }

  // The first four of each vector, then their last four.
  [[gnu::always_inline]] __m256i Lanes(__m256 v0, __m256 v1, __m256 v2, __m256 v3) const {
    const __m256i a = _mm256_packs_epi32(Whole(v0), Whole(v1));
    const __m256i b = _mm256_packs_epi32(Whole(v2), Whole(v3));
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_add_epi16(a, zero_), _mm256_add_epi16(b, zero_));
    return _mm256_max_epu8(bytes, low_);
  }

 private:
  // What is too small for int32 and what is not a number (of two operands that do not compare, the
  // minimum is the second) becomes the smallest int32, and with it `low`.
  [[gnu::always_inline]] __m256i Whole(__m256 value) const {
    return _mm256_cvtps_epi32(_mm256_min_ps(high_, value));
  }

  __m256 high_;
  __m256i low_, zero_, order_;
};

[[gnu::always_inline]] inline __m256 Scaled(__m256i sums, __m256 multiplier) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(sums), multiplier);
}

[[gnu::always_inline]] inline void StoreFirst32(uint8_t* out, __m256i bytes, int32_t count) {
  StoreFirst(out, _mm256_castsi256_si128(bytes), count);
  if (count > 16) StoreFirst(out + 16, _mm256_extracti128_si256(bytes, 1), count - 16);
}

// Of 32 bytes' places in a table of 16 * kParts: their low halves choose within a part, one bit
// after another between two halves of the table.
template <int kParts>
[[gnu::always_inline]] inline __m256i LookupPart(const uint8_t* table, __m256i low, __m256i bytes) {
  if constexpr (kParts == 1) {
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(Load128(table)), low);
  } else {
    constexpr int kShift = kParts == 2 ? 3 : kParts == 4 ? 2 : kParts == 8 ? 1 : 0;
    const __m256i below = LookupPart<kParts / 2>(table, low, bytes);
    const __m256i above = LookupPart<kParts / 2>(table + kParts * 8, low, bytes);
    return _mm256_blendv_epi8(below, above, _mm256_slli_epi16(bytes, kShift));
  }
}

[[gnu::always_inline]] inline __m256i Lookup256(const uint8_t* table, __m256i bytes) {
  return LookupPart<16>(table, _mm256_and_si256(bytes, _mm256_set1_epi8(0x0f)), bytes);
}

inline void LookupRow256(const uint8_t* table, const uint8_t* in, int32_t count, uint8_t* out) {
  int32_t i = 0;
  for (; i + 32 <= count; i += 32) Store256(out + i, Lookup256(table, Load256(in + i)));
  for (; i < count; ++i) out[i] = table[in[i]];
}

// Whether all multipliers are at most a half in magnitude, so that products of any sums stay below
// 2^31. Of whole vectors.
inline bool AreSmall(const float* multiplier, int64_t count) {
  const __m256 half = _mm256_set1_ps(0.5f);
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX));
  int small = 0xff;
  for (int64_t i = 0; i < count; i += 8) {
    const __m256 magnitude = _mm256_and_ps(_mm256_loadu_ps(multiplier + i), no_sign);
    small &= _mm256_movemask_ps(_mm256_cmp_ps(magnitude, half, _CMP_LE_OQ));
  }
  return small == 0xff;
}

// From products that are small to bytes: bounds may wait until there are bytes.
struct PlainBytes256 {
  PlainBytes256(int32_t zero_point, int32_t low, int32_t high)
      : zero_(_mm256_set1_epi16(static_cast<int16_t>(zero_point))),
        low_(_mm256_set1_epi8(static_cast<char>(low))),
        high_(_mm256_set1_epi8(static_cast<char>(high))) {}

  // Of sixteen: words of 0 to 3, 8 to 11, 4 to 7 and 12 to 15.
  [[gnu::always_inline]] __m256i Words(__m256 a, __m256 b) const {
    return _mm256_adds_epi16(_mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)),
                             zero_);
  }
  [[gnu::always_inline]] __m256i Bytes(__m256i first, __m256i second) const {
    return _mm256_max_epu8(_mm256_min_epu8(_mm256_packus_epi16(first, second), high_), low_);
  }
  // Two rows of sixteen, stored.
  [[gnu::always_inline]] void Store(__m256i first, __m256i second, char* to,
                                    char* to_second) const {
    const __m256i bytes = Bytes(first, second);
    const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_unpacklo_epi32(low, high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to_second), _mm_unpackhi_epi32(low, high));
  }
  // One.
  [[gnu::always_inline]] void Store(__m256i row, char* to) const {
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(row), _mm256_extracti128_si256(row, 1));
    const __m128i bounded = _mm_max_epu8(_mm_min_epu8(bytes, _mm256_castsi256_si128(high_)),
                                         _mm256_castsi256_si128(low_));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi32(bounded, 0xd8));
  }

 private:
  __m256i zero_, low_, high_;
};

// Eight bytes of sixteen, as words of 32 bits.
template <int kHalf>
[[gnu::always_inline]] inline __m256i EightWords(__m128i bytes) {
  return _mm256_cvtepu8_epi32(kHalf == 0 ? bytes : _mm_unpackhi_epi64(bytes, bytes));
}

// Calls value(eight of a, eight of b, as words) for 32 bytes, and makes bytes of what it gives.
template <typename Value>
[[gnu::always_inline]] inline __m256i Zip256(const ToBytes256& to_bytes, __m256i a, __m256i b,
                                             Value value) {
  const __m128i a0 = _mm256_castsi256_si128(a), a1 = _mm256_extracti128_si256(a, 1);
  const __m128i b0 = _mm256_castsi256_si128(b), b1 = _mm256_extracti128_si256(b, 1);
  return to_bytes(
      value(EightWords<0>(a0), EightWords<0>(b0)), value(EightWords<1>(a0), EightWords<1>(b0)),
      value(EightWords<0>(a1), EightWords<0>(b1)), value(EightWords<1>(a1), EightWords<1>(b1)));
}

// Add8 for 32 bytes.
struct Adder256 {
  explicit Adder256(const Add8& add)
      : to_bytes(add.zero_point, add.low, add.high),
        zero_a(_mm256_set1_epi32(add.zero_a)),
        zero_b(_mm256_set1_epi32(add.zero_b)),
        ratio_a(_mm256_set1_ps(add.ratio_a)),
        ratio_b(_mm256_set1_ps(add.ratio_b)),
        table(add.table) {}

  [[gnu::always_inline]] __m256i operator()(__m256i a, __m256i b) const {
    const __m256i bytes = Zip256(
        to_bytes, a, b, [&](__m256i x, __m256i y) __attribute__((always_inline)) {
          return _mm256_add_ps(Scaled(_mm256_sub_epi32(x, zero_a), ratio_a),
                               Scaled(_mm256_sub_epi32(y, zero_b), ratio_b));
        });
    return table ? Lookup256(table, bytes) : bytes;
  }

  ToBytes256 to_bytes;
  __m256i zero_a, zero_b;
  __m256 ratio_a, ratio_b;
  const uint8_t* table;
};

// The same where a is eight products on the way to a byte without a table, whose zero point is a's:
// they stay floats.
struct Joiner256 {
  Joiner256(const Requantise& how, const Add8& add)
      : high(_mm256_set1_ps(static_cast<float>(how.high - how.zero_point))),
        low(_mm256_set1_ps(static_cast<float>(how.low - how.zero_point))),
        ratio_a(_mm256_set1_ps(add.ratio_a)),
        ratio_b(_mm256_set1_ps(add.ratio_b)),
        zero_b(_mm256_set1_epi32(add.zero_b)) {}

  static bool Suits(const Requantise& how) {
    return how.add && !how.table && how.add->zero_a == how.zero_point;
  }

  // What is not a number becomes `low`, the second operand of the maximum.
  [[gnu::always_inline]] __m256 operator()(__m256 value, const void* eight) const {
    const __m256 code = _mm256_round_ps(_mm256_max_ps(_mm256_min_ps(high, value), low),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256i b = EightWords<0>(_mm_loadl_epi64(static_cast<const __m128i*>(eight)));
    return _mm256_add_ps(_mm256_mul_ps(code, ratio_a),
                         Scaled(_mm256_sub_epi32(b, zero_b), ratio_b));
  }

  __m256 high, low, ratio_a, ratio_b;
  __m256i zero_b;
};

// Stores function(32 of a, 32 of b).
template <typename Function>
[[gnu::always_inline]] inline void ZipRow256(const uint8_t* a, const uint8_t* b, int32_t count,
                                             uint8_t* out, const Function& function) {
  int32_t i = 0;
  for (; i + 32 <= count; i += 32) Store256(out + i, function(Load256(a + i), Load256(b + i)));
  if (i == count) return;
  const Some256 x(a + i, count - i), y(b + i, count - i);
  StoreFirst32(out + i, function(Load256(x.bytes), Load256(y.bytes)), count - i);
}

}  // namespace
}  // namespace ds::engine
