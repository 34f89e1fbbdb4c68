// Found before the compiler's own: AVX-512 on a processor that lacks it, as SIMDe emulates it. What
// its releases of Debian 12 lack is here, lane by lane. VBMI is there where the environment has
// DS_EMULATE_VBMI.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "simde/x86/avx512.h"

namespace ds::emulated {

inline bool Supports(const char*) { return std::getenv("DS_EMULATE_VBMI") != nullptr; }

// Lane i of so many lanes is f(i); masked ones are zero, or not stored.
template <typename Vector, typename Lane, typename Value>
Vector Lanes(Value value) {
  Lane lanes[sizeof(Vector) / sizeof(Lane)];
  for (size_t i = 0; i < sizeof(Vector) / sizeof(Lane); ++i) lanes[i] = static_cast<Lane>(value(i));
  Vector vector;
  std::memcpy(&vector, lanes, sizeof(vector));
  return vector;
}

template <typename Lane, typename Vector>
Lane LaneOf(const Vector& vector, size_t i) {
  Lane lane;
  std::memcpy(&lane, reinterpret_cast<const char*>(&vector) + i * sizeof(Lane), sizeof(Lane));
  return lane;
}

template <typename Vector, typename Lane>
Vector MaskedLoad(Vector otherwise, uint64_t mask, const void* from) {
  const Lane* lanes = static_cast<const Lane*>(from);
  return Lanes<Vector, Lane>(
      [&](size_t i) { return mask >> i & 1 ? lanes[i] : LaneOf<Lane>(otherwise, i); });
}

template <typename Lane, typename Vector>
void MaskedStore(void* to, uint64_t mask, Vector vector) {
  for (size_t i = 0; i < sizeof(Vector) / sizeof(Lane); ++i) {
    if (mask >> i & 1) static_cast<Lane*>(to)[i] = LaneOf<Lane>(vector, i);
  }
}

inline __m512i ToIntegers(__m512 floats) {
  return Lanes<__m512i, int32_t>(
      [&](size_t i) { return _mm_cvtss_si32(_mm_set_ss(LaneOf<float>(floats, i))); });
}

inline __m512 ToFloats(__m512i integers) {
  return Lanes<__m512, float>([&](size_t i) { return LaneOf<int32_t>(integers, i); });
}

inline __m512i Widened(__m128i bytes) {
  return Lanes<__m512i, int32_t>([&](size_t i) { return LaneOf<uint8_t>(bytes, i); });
}

inline __m512i ShiftedRight(__m512i integers, unsigned count) {
  return Lanes<__m512i, int32_t>([&](size_t i) { return LaneOf<int32_t>(integers, i) >> count; });
}

}  // namespace ds::emulated

#define _mm512_cvtps_epi32(a) ds::emulated::ToIntegers(a)
#define _mm512_cvtepi32_ps(a) ds::emulated::ToFloats(a)
#define _mm512_cvtepu8_epi32(a) ds::emulated::Widened(a)
#define _mm512_srai_epi32(a, count) ds::emulated::ShiftedRight(a, count)
#define _mm_maskz_loadu_epi8(mask, from) \
  ds::emulated::MaskedLoad<__m128i, int8_t>(_mm_setzero_si128(), mask, from)
#define _mm512_maskz_loadu_epi8(mask, from) \
  ds::emulated::MaskedLoad<__m512i, int8_t>(_mm512_setzero_si512(), mask, from)
#define _mm512_mask_loadu_epi8(otherwise, mask, from) \
  ds::emulated::MaskedLoad<__m512i, int8_t>(otherwise, mask, from)
#define _mm512_maskz_loadu_ps(mask, from) \
  ds::emulated::MaskedLoad<__m512, float>(_mm512_setzero_ps(), mask, from)
#define _mm_mask_storeu_epi8(to, mask, a) ds::emulated::MaskedStore<int8_t>(to, mask, a)
#define _mm256_mask_storeu_epi8(to, mask, a) ds::emulated::MaskedStore<int8_t>(to, mask, a)
#define _mm512_mask_storeu_epi8(to, mask, a) ds::emulated::MaskedStore<int8_t>(to, mask, a)
#define _mm512_mask_storeu_ps(to, mask, a) ds::emulated::MaskedStore<float>(to, mask, a)

// Nothing is to be compiled for what is not there.
#define __builtin_cpu_supports(feature) ds::emulated::Supports(feature)
#define target(features) unused
