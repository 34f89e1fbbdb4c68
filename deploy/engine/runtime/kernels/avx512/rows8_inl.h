// Element-wise kernels on bytes, 64 at a time.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/avx512/finish8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/generic/rows_inl.h"

namespace ds::engine {
namespace {

inline void Add8Rows512(const Add8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    AddRow512(args.add, RowAt<uint8_t>(args.a, row), RowAt<uint8_t>(args.b, row), args.columns,
              RowAt<uint8_t>(args.output, row));
  }
}

inline __m512i WidenSome(const uint8_t* in, __mmask16 mask, __m512i zero) {
  return _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, in)), zero);
}

inline void Multiply8Rows512(const Multiply8Args& args, Range rows) {
  const Multiply8& how = args.multiply;
  const ToBytes512 to_bytes(how.zero_point, how.low, how.high);
  const __m512i zero_a = _mm512_set1_epi32(how.zero_a), zero_b = _mm512_set1_epi32(how.zero_b);
  const __m512 ratio = _mm512_set1_ps(how.ratio);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t *a = RowAt<uint8_t>(args.a, row), *b = RowAt<uint8_t>(args.b, row);
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    StoreRow512(to_bytes, args.columns, out, [&](int32_t at, __mmask16 mask) {
      const __m512i product =
          _mm512_mullo_epi32(WidenSome(a + at, mask, zero_a), WidenSome(b + at, mask, zero_b));
      return Scaled(product, ratio);
    });
    if (how.table) LookupRow512(how.table, out, args.columns, out);
  }
}

inline void Lookup8Rows512(const Lookup8Args& args, Range rows) {
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    LookupRow512(args.table, RowAt<uint8_t>(args.input, row), args.columns,
                 RowAt<uint8_t>(args.output, row));
  }
}

// Maxima of 64 channels at a time; averages as they are elsewhere.
inline void Pool8Rows512(const PoolArgs& args, Range rows) {
  if (args.kind != PoolKind::kMax) return PlainPool8(args, rows);
  ForPixelsOfRows(args.shape, rows, [&](Pixel at) {
    uint8_t* out = At<uint8_t>(args.output, at);
    for (int32_t first = 0; first < args.shape.groups; first += 64) {
      const __mmask64 mask = FirstLanes(args.shape.groups - first);
      __m512i most = _mm512_setzero_si512();
      ForTaps<uint8_t>(args.shape, args.input, at, [&](int32_t, const uint8_t* pixel) {
        if (pixel) most = _mm512_max_epu8(most, _mm512_maskz_loadu_epi8(mask, pixel + first));
      });
      _mm512_mask_storeu_epi8(out + first, mask, most);
    }
    if (args.table) LookupRow512(args.table, out, args.shape.groups, out);
  });
}

// Where rows, not columns, lie side by side: planes of an image to pixels of a few channels.
constexpr int32_t kMostPlanes = 16;

// Three planes of 64 bytes to 64 pixels of three, in three vectors: byte i of vector v is byte
// order[v][i] of the first plane, of the second (from 64 on), or where `third` says so of the last.
struct ThreePlanes {
  ThreePlanes() {
    for (int32_t at = 0; at < 192; ++at) {
      const int32_t plane = at % 3;
      order[at] = static_cast<uint8_t>(at / 3 + (plane == 1 ? 64 : 0));
      third[at / 64] |= static_cast<__mmask64>(plane == 2) << at % 64;
    }
  }

  __attribute__((target("avx512vbmi"))) void Interleave(const uint8_t (*planes)[64],
                                                        uint8_t* out) const {
    const __m512i a = _mm512_load_si512(planes[0]), b = _mm512_load_si512(planes[1]);
    const __m512i c = _mm512_load_si512(planes[2]);
    for (int32_t v = 0; v < 3; ++v) {
      const __m512i places = _mm512_load_si512(order + 64 * v);
      const __m512i two = _mm512_permutex2var_epi8(a, places, b);
      _mm512_storeu_si512(out + 64 * v, _mm512_mask_permutexvar_epi8(two, third[v], places, c));
    }
  }

  alignas(64) uint8_t order[192];
  __mmask64 third[3] = {};
};

inline void QuantisePlanes512(const QuantiseArgs& args, Range rows) {
  const ToBytes512 to_bytes(args.zero_point, 0, 255);
  const __m512 scale = _mm512_set1_ps(args.scale);
  alignas(64) uint8_t planes[kMostPlanes][64];
  const bool threes = args.columns == 3 && args.output.stride == 3 && HasVbmi();
  const ThreePlanes three_planes;
  for (int32_t row = rows.begin; row < rows.end; row += 64) {
    const int32_t count = std::min(64, rows.end - row);
    for (int32_t c = 0; c < args.columns; ++c) {
      const char* from = RowAt<char>(args.input, row) + c * args.column_stride;
      StoreRow512(to_bytes, count, planes[c], [&](int32_t at, __mmask16 mask) {
        return _mm512_div_ps(_mm512_maskz_loadu_ps(mask, from + at * 4), scale);
      });
    }
    uint8_t* out = RowAt<uint8_t>(args.output, row);
    if (threes && count == 64) {
      three_planes.Interleave(planes, out);
      continue;
    }
    for (int32_t r = 0; r < count; ++r, out += args.output.stride) {
      for (int32_t c = 0; c < args.columns; ++c) out[c] = planes[c][r];
    }
  }
}

inline void QuantiseRows512(const QuantiseArgs& args, Range rows) {
  const bool planes = args.input.stride == 4 && args.columns <= kMostPlanes;
  if (args.column_stride != 4 && planes) return QuantisePlanes512(args, rows);
  if (args.column_stride != 4) return PlainQuantise(args, rows);
  const ToBytes512 to_bytes(args.zero_point, 0, 255);
  const __m512 scale = _mm512_set1_ps(args.scale);
  for (int32_t row = rows.begin; row < rows.end; ++row) {
    const float* from = RowAt<float>(args.input, row);
    StoreRow512(to_bytes, args.columns, RowAt<uint8_t>(args.output, row),
                [&](int32_t at, __mmask16 mask) {
                  return _mm512_div_ps(_mm512_maskz_loadu_ps(mask, from + at), scale);
                });
  }
}

}  // namespace
}  // namespace ds::engine
