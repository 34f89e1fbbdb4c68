// Codec kernels for AVX2 with F16C.
#include <immintrin.h>

#include <cstdint>

namespace ds::lowbit {
namespace {

struct Isa {
  typedef float F __attribute__((vector_size(32)));
  typedef uint32_t U32 __attribute__((vector_size(32)));
  typedef int32_t I32 __attribute__((vector_size(32)));
  typedef uint64_t U64 __attribute__((vector_size(32)));
  typedef uint16_t U16 __attribute__((vector_size(16)));
  static constexpr int kLanes = 8;
  static constexpr int kByteVectors = 1;
  static constexpr int kVectors = 4;

  static U64 MultiplyLow32(U64 a, uint32_t b) {
    return (U64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(static_cast<int64_t>(b)));
  }

  static void Pack(const U32 (&words)[kVectors], U64 (&bytes)[1]) {
    const __m256i low = _mm256_packus_epi32((__m256i)words[0], (__m256i)words[1]);
    const __m256i high = _mm256_packus_epi32((__m256i)words[2], (__m256i)words[3]);
    const __m256i in_halves = _mm256_packus_epi16(low, high);
    bytes[0] =
        (U64)_mm256_permutevar8x32_epi32(in_halves, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  }

  static void Unpack(const U64 (&bytes)[1], U32 (&words)[kVectors]) {
    const __m128i low = _mm256_castsi256_si128((__m256i)bytes[0]);
    const __m128i high = _mm256_extracti128_si256((__m256i)bytes[0], 1);
    words[0] = (U32)_mm256_cvtepu8_epi32(low);
    words[1] = (U32)_mm256_cvtepu8_epi32(_mm_srli_si128(low, 8));
    words[2] = (U32)_mm256_cvtepu8_epi32(high);
    words[3] = (U32)_mm256_cvtepu8_epi32(_mm_srli_si128(high, 8));
  }

  // Of NoisePairs(), the kNoise upper bits of each value's Noise16(), in the order of the values.
  template <int kNoise>
  static void SortNoise(const U64 (&first)[1], const U64 (&second)[1], U32 (&words)[kVectors]) {
    words[0] = ((U32)first[0] & 0xffffu) >> (16 - kNoise);
    words[1] = (U32)first[0] >> (32 - kNoise);
    words[2] = ((U32)second[0] & 0xffffu) >> (16 - kNoise);
    words[3] = (U32)second[0] >> (32 - kNoise);
  }

  static U16 ToFloat16(F values) {
    return (U16)_mm256_cvtps_ph((__m256)values, _MM_FROUND_TO_NEAREST_INT);
  }
  static F FromFloat16(U16 halves) { return (F)_mm256_cvtph_ps((__m128i)halves); }
};

}  // namespace
}  // namespace ds::lowbit

#include "codec/kernels_inl.h"

namespace ds::lowbit {

const CodecKernels& Avx2Kernels() {
  static constexpr CodecKernels kTable = Table("avx2", std::make_integer_sequence<int, kMaxBits>());
  return kTable;
}

}  // namespace ds::lowbit
