// A matrix product of bytes whose results stay floats, by AVX2: bytes widened to 16 bits, products
// of pairs exact (as in conv8_inl.h).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/dense8_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

// The sums of kEights times 8 channels, behind what `sums` has.
template <int kEights>
void DensePanel256(const uint8_t* row, const int8_t* weights, int64_t depth, int32_t* sums) {
  __m256i pairs[kEights][2];
  Unroll<kEights>([&](auto e) { pairs[e][0] = pairs[e][1] = _mm256_setzero_si256(); });
  for (int64_t k = 0; k < depth; k += 4, weights += kEights * 32) {
    int32_t four;
    std::memcpy(&four, row + k, sizeof(four));
    const __m256i x = _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(four)));
    Unroll<kEights>([&](auto e) {
      Unroll<2>([&](auto half) {
        const auto* from = reinterpret_cast<const __m128i*>(weights + e * 32 + half * 16);
        const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128(from));
        pairs[e][half] = _mm256_add_epi32(pairs[e][half], _mm256_madd_epi16(x, w));
      });
    });
  }
  Unroll<kEights>([&](auto e) {
    const __m256i both =
        _mm256_permute4x64_epi64(_mm256_hadd_epi32(pairs[e][0], pairs[e][1]), 0xd8);
    auto* at = reinterpret_cast<__m256i*>(sums + e * 8);
    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), both));
  });
}

inline void Avx2Dense8(const Dense8Args& args, Range rows, Range columns) {
  const int64_t depth = RoundUp(args.depth, 4);
  ForDensePanels(
      args, rows, columns, [&](int32_t row, int32_t column, int32_t count, const int8_t* weights) {
        int32_t sums[kPanel];
        std::copy_n(args.bias + column, kPanel, sums);
        const auto* x = RowAt<uint8_t>(args.input, row);
        PanelWidth(args.columns - column) == kPanel ? DensePanel256<4>(x, weights, depth, sums)
                                                    : DensePanel256<2>(x, weights, depth, sums);
        float* out = RowAt<float>(args.output, row) + column;
        for (int32_t c = 0; c < count; ++c) {
          const float product = static_cast<float>(sums[c]) * args.scale[column + c];
          out[c] = product + args.shift[column + c];
        }
      });
}

}  // namespace
}  // namespace ds::engine
