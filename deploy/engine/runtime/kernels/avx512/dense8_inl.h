// A matrix product of bytes whose results stay floats, by AVX-512 VNNI: a panel at a time, four
// steps of the depth side by side so that no sum waits for the one before.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "deploy/engine/runtime/kernels/generic/dense8_inl.h"
#include "deploy/engine/runtime/kernels/generic/unroll_inl.h"

namespace ds::engine {
namespace {

constexpr int kDenseChains = 4;

inline __m512i FourBytes512(const uint8_t* from) {
  int32_t four;
  std::memcpy(&four, from, sizeof(four));
  return _mm512_set1_epi32(four);
}

// The sums of kVectors times 16 channels.
template <int kVectors>
void DensePanel512(const uint8_t* row, const int8_t* weights, int64_t depth, __m512i* sums) {
  __m512i chains[kDenseChains][kVectors];
  Unroll<kDenseChains>(
      [&](auto i) { Unroll<kVectors>([&](auto v) { chains[i][v] = _mm512_setzero_si512(); }); });
  const auto step = [&](int64_t k, auto chain) {
    const __m512i x = FourBytes512(row + k);
    Unroll<kVectors>([&](auto v) {
      const __m512i w = _mm512_loadu_si512(weights + k * kVectors * 16 + v * 64);
      chains[chain][v] = _mm512_dpbusd_epi32(chains[chain][v], x, w);
    });
  };
  int64_t k = 0;
  for (; k + 4 * kDenseChains <= depth; k += 4 * kDenseChains)
    Unroll<kDenseChains>([&](auto i) { step(k + 4 * i, i); });
  for (; k < depth; k += 4) step(k, std::integral_constant<int, 0>());
  Unroll<kVectors>([&](auto v) {
    sums[v] = _mm512_add_epi32(_mm512_add_epi32(chains[0][v], chains[1][v]),
                               _mm512_add_epi32(chains[2][v], chains[3][v]));
  });
}

inline void VnniDense8(const Dense8Args& args, Range rows, Range columns) {
  const int64_t depth = RoundUp(args.depth, 4);
  ForDensePanels(
      args, rows, columns, [&](int32_t row, int32_t column, int32_t count, const int8_t* weights) {
        const auto* x = RowAt<uint8_t>(args.input, row);
        __m512i sums[2] = {};
        const bool whole = PanelWidth(args.columns - column) == kPanel;
        whole ? DensePanel512<2>(x, weights, depth, sums)
              : DensePanel512<1>(x, weights, depth, sums);
        float* out = RowAt<float>(args.output, row) + column;
        for (int32_t v = 0; v * 16 < count; ++v) {
          const int32_t c = column + v * 16, left = count - v * 16;
          const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1 << left) - 1);
          const __m512i sum = _mm512_add_epi32(sums[v], _mm512_loadu_si512(args.bias + c));
          const __m512 product =
              _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(args.scale + c));
          _mm512_mask_storeu_ps(out + v * 16, mask,
                                _mm512_add_ps(product, _mm512_loadu_ps(args.shift + c)));
        }
      });
}

}  // namespace
}  // namespace ds::engine
