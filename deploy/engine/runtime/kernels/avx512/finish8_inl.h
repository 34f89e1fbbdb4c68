// From sums in registers to stored bytes, 64 at a time, with the bits of requantise_inl.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

constexpr int32_t kLanes = 16;

// sums + products of unsigned bytes x and signed bytes w, four at a time. As assembly, since GCC 12
// copies registers around the intrinsic; without the instruction (tests emulate it) the intrinsic.
[[gnu::always_inline]] inline __m512i Dot(__m512i sums, __m512i x, __m512i w) {
#if defined(__AVX512VNNI__)
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(x), "v"(w));
  return sums;
#else
  return _mm512_dpbusd_epi32(sums, x, w);
#endif
}

inline __mmask64 FirstLanes(int32_t count) {
  return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

// ToByte for four vectors of 16 floats. Bytes come out in lanes of 128 bits: lane j has four of
// each vector, those with the numbers 4 j to 4 j + 3.
struct ToBytes512 {
  ToBytes512(int32_t zero_point, int32_t low, int32_t high)
      : high_(_mm512_set1_ps(static_cast<float>(high - zero_point))),
        low_(_mm512_set1_epi8(static_cast<char>(low))),
        zero_(_mm512_set1_epi16(static_cast<int16_t>(zero_point))) {}

  // What is too small for int32 and what is not a number (of two operands that do not compare, the
  // minimum is the second) becomes the smallest int32, and with it `low`.
  __m512i Whole(__m512 value) const { return _mm512_cvtps_epi32(_mm512_min_ps(high_, value)); }
  __m512i operator()(__m512 v0, __m512 v1, __m512 v2, __m512 v3) const {
    const __m512i a = _mm512_packs_epi32(Whole(v0), Whole(v1));
    const __m512i b = _mm512_packs_epi32(Whole(v2), Whole(v3));
    const __m512i bytes =
        _mm512_packus_epi16(_mm512_add_epi16(a, zero_), _mm512_add_epi16(b, zero_));
    return _mm512_max_epu8(bytes, low_);
  }

 private:
  __m512 high_;
  __m512i low_, zero_;
};

inline __m512 Scaled(__m512i sums, __m512 multiplier) {
  return _mm512_mul_ps(_mm512_cvtepi32_ps(sums), multiplier);
}

// From the order of ToBytes512 to vector after vector.
inline __m512i VectorAfterVector(__m512i bytes) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}

inline bool HasVbmi() {
  static const bool has = __builtin_cpu_supports("avx512vbmi");
  return has;
}

// The table in four registers.
__attribute__((target("avx512vbmi"))) inline void LookupRowVbmi(const uint8_t* table,
                                                                const uint8_t* in, int32_t count,
                                                                uint8_t* out) {
  __m512i parts[4];
  for (int32_t i = 0; i < 4; ++i) parts[i] = _mm512_loadu_si512(table + 64 * i);
  for (int32_t i = 0; i < count; i += 64) {
    const __mmask64 mask = FirstLanes(count - i);
    const __m512i index = _mm512_maskz_loadu_epi8(mask, in + i);
    const __m512i below = _mm512_permutex2var_epi8(parts[0], index, parts[1]);
    const __m512i above = _mm512_permutex2var_epi8(parts[2], index, parts[3]);
    _mm512_mask_storeu_epi8(out + i, mask,
                            _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), below, above));
  }
}

inline void LookupRow512(const uint8_t* table, const uint8_t* in, int32_t count, uint8_t* out) {
  if (HasVbmi()) return LookupRowVbmi(table, in, count, out);
  for (int32_t i = 0; i < count; ++i) out[i] = table[in[i]];
}

// 16 bytes as float(byte - zero).
inline __m512 Shifted(const uint8_t* in, __mmask16 mask, __m512i zero) {
  const __m512i wide = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, in));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(wide, zero));
}

// Stores value(offset, mask of the 16 that begin there) as bytes.
template <typename Value>
void StoreRow512(const ToBytes512& to_bytes, int32_t count, uint8_t* out, Value value) {
  for (int32_t i = 0; i < count; i += 64) {
    const __mmask64 mask = FirstLanes(count - i);
    __m512 values[4];
#pragma GCC unroll 4
    for (int32_t v = 0; v < 4; ++v)
      values[v] = value(i + v * kLanes, static_cast<__mmask16>(mask >> (v * kLanes)));
    const __m512i bytes = VectorAfterVector(to_bytes(values[0], values[1], values[2], values[3]));
    _mm512_mask_storeu_epi8(out + i, mask, bytes);
  }
}

inline void AddRow512(const Add8& add, const uint8_t* a, const uint8_t* b, int32_t count,
                      uint8_t* out) {
  const ToBytes512 to_bytes(add.zero_point, add.low, add.high);
  const __m512i zero_a = _mm512_set1_epi32(add.zero_a), zero_b = _mm512_set1_epi32(add.zero_b);
  const __m512 ratio_a = _mm512_set1_ps(add.ratio_a), ratio_b = _mm512_set1_ps(add.ratio_b);
  StoreRow512(to_bytes, count, out, [&](int32_t at, __mmask16 mask) {
    return _mm512_add_ps(_mm512_mul_ps(Shifted(a + at, mask, zero_a), ratio_a),
                         _mm512_mul_ps(Shifted(b + at, mask, zero_b), ratio_b));
  });
  if (add.table) LookupRow512(add.table, out, count, out);
}

// AddRow512() for two rows of at most 32 bytes at once; they may be the same one.
inline void AddTwoRows512(const Add8& add, const uint8_t* const (&b)[2], int32_t count,
                          uint8_t* const (&rows)[2]) {
  const ToBytes512 to_bytes(add.zero_point, add.low, add.high);
  const __m512i zero_a = _mm512_set1_epi32(add.zero_a), zero_b = _mm512_set1_epi32(add.zero_b);
  const __m512 ratio_a = _mm512_set1_ps(add.ratio_a), ratio_b = _mm512_set1_ps(add.ratio_b);
  const __mmask32 mask = static_cast<__mmask32>(FirstLanes(count));
  const __mmask16 masks[2] = {static_cast<__mmask16>(mask), static_cast<__mmask16>(mask >> 16)};
  __m512 values[4];
#pragma GCC unroll 4
  for (int32_t v = 0; v < 4; ++v) {
    const int64_t at = v % 2 * kLanes;
    values[v] =
        _mm512_add_ps(_mm512_mul_ps(Shifted(rows[v / 2] + at, masks[v % 2], zero_a), ratio_a),
                      _mm512_mul_ps(Shifted(b[v / 2] + at, masks[v % 2], zero_b), ratio_b));
  }
  const __m512i bytes = VectorAfterVector(to_bytes(values[0], values[1], values[2], values[3]));
  _mm256_mask_storeu_epi8(rows[0], mask, _mm512_castsi512_si256(bytes));
  _mm256_mask_storeu_epi8(rows[1], mask, _mm512_extracti64x4_epi64(bytes, 1));
  if (!add.table) return;
  LookupRow512(add.table, rows[0], count, rows[0]);
  if (rows[1] != rows[0]) LookupRow512(add.table, rows[1], count, rows[1]);
}

}  // namespace
}  // namespace ds::engine
