// Element-wise kernels on bytes, 32 at a time.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx2/finish8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/gates8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/rows_inl.h"

namespace ds::engine {
namespace {

inline void Add8Rows256(const Add8Args& args, Range rows) {
  const Adder256 adder(args.add);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    ZipRow256(RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns,
              RowAt<uint8_t>(args.output, row), adder);
  }
}

inline void Multiply8Rows256(const Multiply8Args& args, Range rows) {
  if (TakesGates256(args, rows)) return GateRows256(args, rows);
  const Multiply8 how = args.multiply;
  const ToBytes256 to_bytes(how.zero_point, how.low, how.high);
  const __m256i zero_a = _mm256_set1_epi32(how.zero_a), zero_b = _mm256_set1_epi32(how.zero_b);
  const __m256i low_words = _mm256_set1_epi32(0xffff);
  const __m256 ratio = _mm256_set1_ps(how.ratio);
  const auto multiply = [&](__m256i a, __m256i b) __attribute__((always_inline)) {
    const __m256i bytes = Zip256(
        to_bytes, a, b, [&](__m256i x, __m256i y) __attribute__((always_inline)) {
          // Both fit 16 bits: one pair's product where the other's factor is 0.
          const __m256i low = _mm256_and_si256(_mm256_sub_epi32(y, zero_b), low_words);
          return Scaled(_mm256_madd_epi16(_mm256_sub_epi32(x, zero_a), low), ratio);
        });
    return how.table ? Lookup256(how.table, bytes) : bytes;
  };
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    ZipRow256(RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns,
              RowAt<uint8_t>(args.output, row), multiply);
  }
}

inline void Lookup8Rows256(const Lookup8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    LookupRow256(args.table, RowAt<uint8_t>(args.input, row), args.columns,
                 RowAt<uint8_t>(args.output, row));
  }
}

// Sums of 64 channels, in 16 bits as long as these hold them.
struct Sums256 {
  [[gnu::always_inline]] void Add(const uint8_t* codes) {
    for (int v = 0; v < 4; ++v)
      words[v] = _mm256_add_epi16(words[v], _mm256_cvtepu8_epi16(Load128(codes + 16 * v)));
    if (++held == 257) Widen();
  }
  void Widen() {
    for (int v = 0; v < 8; ++v) {
      const __m128i half = v % 2 == 0 ? _mm256_castsi256_si128(words[v / 2])
                                      : _mm256_extracti128_si256(words[v / 2], 1);
      Store256(sums + 8 * v, _mm256_add_epi32(Load256(sums + 8 * v), _mm256_cvtepu16_epi32(half)));
    }
    for (__m256i& word : words) word = _mm256_setzero_si256();
    held = 0;
  }

  __m256i words[4] = {};
  int32_t held = 0;
  alignas(32) int32_t sums[64] = {};
};

inline void AverageRows256(const PoolArgs& args, Range rows) {
  const ToByte to_byte(args.zero_out, args.low, args.high);
  ForPixelsOfRows(args.shape, rows, [&](Pixel at) {
    uint8_t* out = At<uint8_t>(args.output, at);
    for (int32_t first = 0; first < args.shape.groups; first += 64) {
      Sums256 sums;
      int32_t inside = 0;
      ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
        if (!pixel) return;
        ++inside;
        sums.Add(pixel + first);
      });
      sums.Widen();
      const int32_t zeros = inside * args.zero_in, count = std::min(64, args.shape.groups - first);
      const float multiplier = AverageMultiplier(args, inside);
      for (int32_t c = 0; c < count; ++c)
        out[first + c] = to_byte(static_cast<float>(sums.sums[c] - zeros) * multiplier);
    }
    if (args.table) LookupRow256(args.table, out, args.shape.groups, out);
  });
}

// 32 channels at a time; averages 64.
inline void Pool8Rows256(const PoolArgs& args, Range rows) {
  if (args.kind != PoolKind::kMax) return AverageRows256(args, rows);
  const int32_t channels = args.shape.groups;
  ForPixelsOfRows(args.shape, rows, [&](Pixel at) {
    uint8_t* out = At<uint8_t>(args.output, at);
    for (int32_t first = 0; first < channels; first += 32) {
      __m256i most = _mm256_setzero_si256();
      ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
        if (pixel) most = _mm256_max_epu8(most, Load256(pixel + first));
      });
      if (args.table) most = Lookup256(args.table, most);
      if (channels - first >= 32)
        Store256(out + first, most);
      else
        StoreFirst32(out + first, most, channels - first);
    }
  });
}

// 32 floats as bytes.
[[gnu::always_inline]] inline __m256i Quantise256(const ToBytes256& to_bytes, const float* from,
                                                  __m256 scale) {
  return to_bytes(_mm256_div_ps(_mm256_loadu_ps(from), scale),
                  _mm256_div_ps(_mm256_loadu_ps(from + 8), scale),
                  _mm256_div_ps(_mm256_loadu_ps(from + 16), scale),
                  _mm256_div_ps(_mm256_loadu_ps(from + 24), scale));
}

// Where rows, not columns, lie side by side: planes of an image to pixels of three.
struct ThreePlanes256 {
  ThreePlanes256() {
    for (int at = 0; at < 48; ++at) {
      for (int plane = 0; plane < 3; ++plane)
        order[plane][at] = static_cast<int8_t>(at % 3 == plane ? at / 3 : -1);
    }
  }
  void Interleave(__m128i a, __m128i b, __m128i c, uint8_t* out) const {
    for (int v = 0; v < 3; ++v) {
      const __m128i bytes =
          _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, Load128(order[0] + 16 * v)),
                                    _mm_shuffle_epi8(b, Load128(order[1] + 16 * v))),
                       _mm_shuffle_epi8(c, Load128(order[2] + 16 * v)));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16 * v), bytes);
    }
  }

  int8_t order[3][48];
};

inline void QuantisePlanes256(const QuantiseArgs& args, Range rows) {
  const ToBytes256 to_bytes(args.zero_point, 0, 255);
  const __m256 scale = _mm256_set1_ps(args.scale);
  const ThreePlanes256 three;
  int32_t row = rows.begin;
  for (; row + 32 <= rows.end; row += 32) {
    __m256i planes[3];
    for (int32_t c = 0; c < 3; ++c) {
      const char* from = RowAt<char>(args.input, row) + c * args.column_stride;
      planes[c] = Quantise256(to_bytes, reinterpret_cast<const float*>(from), scale);
    }
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    three.Interleave(_mm256_castsi256_si128(planes[0]), _mm256_castsi256_si128(planes[1]),
                     _mm256_castsi256_si128(planes[2]), out);
    three.Interleave(_mm256_extracti128_si256(planes[0], 1), _mm256_extracti128_si256(planes[1], 1),
                     _mm256_extracti128_si256(planes[2], 1), out + 48);
  }
  PlainQuantise(args, {row, rows.end});
}

inline void QuantiseRows256(const QuantiseArgs& args, Range rows) {
  const bool planes = args.input.stride == 4 && args.columns == 3 && args.output.stride == 3;
  if (args.column_stride != 4 && planes) return QuantisePlanes256(args, rows);
  if (args.column_stride != 4) return PlainQuantise(args, rows);
  const ToBytes256 to_bytes(args.zero_point, 0, 255);
  const ToByte to_byte(args.zero_point, 0, 255);
  const __m256 scale = _mm256_set1_ps(args.scale);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const float* from = RowAt<float>(args.input, row);
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    int32_t c = 0;
    for (; c + 32 <= args.columns; c += 32)
      Store256(out + c, Quantise256(to_bytes, from + c, scale));
    for (; c < args.columns; ++c) out[c] = to_byte(from[c] / args.scale);
  }
}

}  // namespace
}  // namespace ds::engine
