// Eight floats, for generic/conv_f32_inl.h and generic/float_rows_inl.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace ds::engine {
namespace {

struct Floats256 {
  using Register = __m256;
  static constexpr int32_t kWidth = 8;

  static __m256i First(int32_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static __m256 Load(const float* from) { return _mm256_loadu_ps(from); }
  static __m256 LoadSome(const float* from, int32_t count) {
    return count >= kWidth ? Load(from) : _mm256_maskload_ps(from, First(count));
  }
  static void StoreSome(float* to, int32_t count, __m256 value) {
    if (count >= kWidth)
      _mm256_storeu_ps(to, value);
    else
      _mm256_maskstore_ps(to, First(count), value);
  }
  static __m256 Every(float value) { return _mm256_set1_ps(value); }
  static __m256 MultiplyAdd(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
  static __m256 Add(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
  static __m256 Subtract(__m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
  static __m256 Multiply(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
  static __m256 Divide(__m256 a, __m256 b) { return _mm256_div_ps(a, b); }
  static __m256 Max(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
  static __m256 Min(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
  static __m256 Round(__m256 a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // a * 2^n, for whole n that leave the result a normal number.
  static __m256 PowerOfTwo(__m256 a, __m256 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent));
  }
};

}  // namespace
}  // namespace ds::engine
