// The transforms of F(4x4, 3x3) along one axis (winograd8_inl.h), by vectors.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace ds::engine {
namespace {

constexpr int32_t kOuts = 4;              // of a tile along each axis
constexpr int32_t kIns = 6;               // inputs that these read
constexpr int32_t kPoints = kIns * kIns;  // of the transformed domain

// B^T d of Lavin and Gray along one axis; G g without its fractions; A^T m with them, times 24.
[[gnu::always_inline]] inline void TransformInputs(const __m256i (&d)[kIns], __m256i (&out)[kIns]) {
  const __m256i e = _mm256_sub_epi16(d[4], d[2]), f = _mm256_sub_epi16(d[3], d[1]);
  const __m256i g = _mm256_sub_epi16(d[4], _mm256_slli_epi16(d[2], 2));
  const __m256i h = _mm256_sub_epi16(d[3], _mm256_slli_epi16(d[1], 2));
  const __m256i twice = _mm256_slli_epi16(f, 1);
  out[0] = _mm256_add_epi16(_mm256_slli_epi16(_mm256_sub_epi16(d[0], d[2]), 2), e);
  out[1] = _mm256_add_epi16(g, h);
  out[2] = _mm256_sub_epi16(g, h);
  out[3] = _mm256_add_epi16(e, twice);
  out[4] = _mm256_sub_epi16(e, twice);
  out[5] = _mm256_sub_epi16(_mm256_sub_epi16(d[5], d[3]), _mm256_slli_epi16(twice, 1));
}
[[gnu::always_inline]] inline void TransformWeights(const __m256i (&g)[3], __m256i (&out)[kIns]) {
  const __m256i ends = _mm256_add_epi16(g[0], g[2]);
  const __m256i far = _mm256_add_epi16(g[0], _mm256_slli_epi16(g[2], 2));
  const __m256i twice = _mm256_slli_epi16(g[1], 1);
  out[0] = g[0];
  out[1] = _mm256_add_epi16(ends, g[1]);
  out[2] = _mm256_sub_epi16(ends, g[1]);
  out[3] = _mm256_add_epi16(far, twice);
  out[4] = _mm256_sub_epi16(far, twice);
  out[5] = g[2];
}
[[gnu::always_inline]] inline void TransformSums(const __m256i (&m)[kIns], __m256i (&out)[kOuts]) {
  const auto thrice = [](__m256i x) { return _mm256_add_epi32(x, _mm256_slli_epi32(x, 1)); };
  const __m256i s = _mm256_add_epi32(m[1], m[2]), d = _mm256_sub_epi32(m[1], m[2]);
  const __m256i t = _mm256_add_epi32(m[3], m[4]), e = _mm256_sub_epi32(m[3], m[4]);
  out[0] = _mm256_add_epi32(_mm256_slli_epi32(thrice(m[0]), 1),
                            _mm256_sub_epi32(t, _mm256_slli_epi32(s, 2)));
  out[1] = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_slli_epi32(d, 1)), 1);
  out[2] = _mm256_slli_epi32(_mm256_sub_epi32(t, s), 2);
  const __m256i last = _mm256_slli_epi32(_mm256_add_epi32(e, thrice(m[5])), 1);
  out[3] = _mm256_slli_epi32(_mm256_sub_epi32(last, d), 2);
}

}  // namespace
}  // namespace ds::engine
