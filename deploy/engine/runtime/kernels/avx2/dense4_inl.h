// Codes times weights of 4 bits by AVX2, sums in blocks (generic/dense4_inl.h): pairs of words,
// products exact.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/generic/dense4_inl.h"

namespace ds::engine {
namespace {

struct WordProducts4 {
  using Input = uint8_t;
  using Sum = Ints8;
  using Row = int32_t[4];  // pairs of words: values 0 and 2, 1 and 3, 4 and 6, 5 and 7

  static void Prepare(const uint8_t* x, int32_t zero, Row& row) {
    const __m128i words =
        _mm_sub_epi16(_mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))),
                      _mm_set1_epi16(static_cast<int16_t>(zero)));
    const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row), _mm_shuffle_epi8(words, order));
  }
  template <int kRows>
  [[gnu::always_inline]] static void Add(const uint8_t* weights, const Row (&rows)[kRows],
                                         Sum (&sums)[kRows]) {
    const __m256i packed = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
    Unroll<4>([&](auto part) __attribute__((always_inline)) {
      const __m256i words = WordsOf<true, part>(packed);
      Unroll<kRows>([&](auto r) __attribute__((always_inline)) {
        const __m256i x = _mm256_set1_epi32(rows[r][part]);
        sums[r] = reinterpret_cast<Sum>(
            _mm256_add_epi32(reinterpret_cast<__m256i>(sums[r]), _mm256_madd_epi16(x, words)));
      });
    });
  }
};

}  // namespace
}  // namespace ds::engine
