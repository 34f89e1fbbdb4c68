// Element-wise kernels on bytes, 32 at a time.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/rows_inl.h"

namespace ds::engine {
namespace {

inline void Add8Rows256(const Add8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    AddRow256(args.add, RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns,
              RowAt<uint8_t>(args.output, row));
  }
}

inline void Multiply8Rows256(const Multiply8Args& args, Range rows) {
  const Multiply8 how = args.multiply;
  const ToBytes256 to_bytes(how.zero_point, how.low, how.high);
  const __m256i zero_a = _mm256_set1_epi32(how.zero_a), zero_b = _mm256_set1_epi32(how.zero_b);
  const __m256i low_words = _mm256_set1_epi32(0xffff);
  const __m256 ratio = _mm256_set1_ps(how.ratio);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    StoreRow256(
        to_bytes, RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns,
        out, [&](const uint8_t* x, const uint8_t* y) __attribute__((always_inline)) {
          // Both fit 16 bits: one pair's product where the other's factor is 0.
          const __m256i low = _mm256_and_si256(Shifted(y, zero_b), low_words);
          return Scaled(_mm256_madd_epi16(Shifted(x, zero_a), low), ratio);
        });
    if (how.table) LookupRow256(how.table, out, args.columns, out);
  }
}

inline void Lookup8Rows256(const Lookup8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    LookupRow256(args.table, RowAt<uint8_t>(args.input, row), args.columns,
                 RowAt<uint8_t>(args.output, row));
  }
}

}  // namespace
}  // namespace ds::engine
