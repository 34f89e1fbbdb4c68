// Codec kernels for AVX-512 (F, BW, DQ, VL).
#include <immintrin.h>

#include <cstdint>

namespace ds::lowbit {
namespace {

struct Isa {
  typedef float F __attribute__((vector_size(64)));
  typedef uint32_t U32 __attribute__((vector_size(64)));
  typedef int32_t I32 __attribute__((vector_size(64)));
  typedef uint64_t U64 __attribute__((vector_size(64)));
  typedef uint16_t U16 __attribute__((vector_size(32)));
  static constexpr int kLanes = 16;
  static constexpr int kByteVectors = 1;
  static constexpr int kVectors = 4;

  static U64 MultiplyLow32(U64 a, uint32_t b) {
    return (U64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(static_cast<int64_t>(b)));
  }

  static void Pack(const U32 (&words)[kVectors], U64 (&bytes)[1]) {
    const __m512i low = _mm512_packus_epi32((__m512i)words[0], (__m512i)words[1]);
    const __m512i high = _mm512_packus_epi32((__m512i)words[2], (__m512i)words[3]);
    const __m512i in_quarters = _mm512_packus_epi16(low, high);
    bytes[0] = (U64)_mm512_permutexvar_epi32(
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), in_quarters);
  }

  static void Unpack(const U64 (&bytes)[1], U32 (&words)[kVectors]) {
    const __m512i all = (__m512i)bytes[0];
    words[0] = (U32)_mm512_cvtepu8_epi32(_mm512_castsi512_si128(all));
    words[1] = (U32)_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(all, 1));
    words[2] = (U32)_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(all, 2));
    words[3] = (U32)_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(all, 3));
  }

  // Of NoisePairs(), the kNoise upper bits of each value's Noise16(), in the order of the values:
  // the lower 256 bits are the first 32 values, each half of a word eight lanes.
  template <int kNoise>
  static void SortNoise(const U64 (&first)[1], const U64 (&second)[1], U32 (&words)[kVectors]) {
    const U32 lift = {16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0};
    const auto halves = [&](__m512i twice) { return ((U32)twice << lift) >> (32 - kNoise); };
    constexpr int kLowerTwice = 0x44, kUpperTwice = 0xee;
    words[0] = halves(_mm512_shuffle_i64x2((__m512i)first[0], (__m512i)first[0], kLowerTwice));
    words[1] = halves(_mm512_shuffle_i64x2((__m512i)second[0], (__m512i)second[0], kLowerTwice));
    words[2] = halves(_mm512_shuffle_i64x2((__m512i)first[0], (__m512i)first[0], kUpperTwice));
    words[3] = halves(_mm512_shuffle_i64x2((__m512i)second[0], (__m512i)second[0], kUpperTwice));
  }

  static U16 ToFloat16(F values) {
    return (U16)_mm512_cvtps_ph((__m512)values, _MM_FROUND_TO_NEAREST_INT);
  }
  static F FromFloat16(U16 halves) { return (F)_mm512_cvtph_ps((__m256i)halves); }
};

}  // namespace
}  // namespace ds::lowbit

#include "codec/kernels_inl.h"

namespace ds::lowbit {

const CodecKernels& Avx512Kernels() {
  static constexpr CodecKernels kTable =
      Table("avx512", std::make_integer_sequence<int, kMaxBits>());
  return kTable;
}

}  // namespace ds::lowbit
