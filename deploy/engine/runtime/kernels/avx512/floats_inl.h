// Sixteen floats, for generic/conv_f32_inl.h and generic/float_rows_inl.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace ds::engine {
namespace {

struct Floats512 {
  using Register = __m512;
  static constexpr int32_t kWidth = 16;

  static __mmask16 First(int32_t count) {
    return count >= kWidth ? __mmask16{0xffff} : static_cast<__mmask16>((1u << count) - 1);
  }
  static __m512 Load(const float* from) { return _mm512_loadu_ps(from); }
  static __m512 LoadSome(const float* from, int32_t count) {
    return _mm512_maskz_loadu_ps(First(count), from);
  }
  static void StoreSome(float* to, int32_t count, __m512 value) {
    _mm512_mask_storeu_ps(to, First(count), value);
  }
  static __m512 Every(float value) { return _mm512_set1_ps(value); }
  static __m512 MultiplyAdd(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
  static __m512 Add(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
  static __m512 Subtract(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
  static __m512 Multiply(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
  static __m512 Divide(__m512 a, __m512 b) { return _mm512_div_ps(a, b); }
  static __m512 Max(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
  static __m512 Min(__m512 a, __m512 b) { return _mm512_min_ps(a, b); }
  static __m512 Round(__m512 a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // a * 2^n, for whole n.
  static __m512 PowerOfTwo(__m512 a, __m512 n) { return _mm512_scalef_ps(a, n); }
};

}  // namespace
}  // namespace ds::engine
