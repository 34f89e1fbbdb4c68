#include "deploy/engine/measure/peak.h"

#include <algorithm>
#include <chrono>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ds::engine {
namespace {

#if defined(__x86_64__)
// Twelve independent chains hide the latency of any of the instructions.
constexpr int kChains = 12;
constexpr int kTimes = 10000;

// Each returns the multiply-accumulates that it did.
__attribute__((target("avx512f,avx512vnni"))) double Int8Vnni() {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x01010101);
  for (int i = 0; i < kTimes; ++i) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
  return 64.0 * kChains * kTimes;
}

__attribute__((target("avx512f"))) double Fp32Avx512() {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const __m512 a = _mm512_set1_ps(0.5F), b = _mm512_set1_ps(1.5F);
  for (int i = 0; i < kTimes; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) asm volatile("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  }
  return 16.0 * kChains * kTimes;
}

__attribute__((target("avx2"))) double Int8Avx2() {
  __m256i sums[kChains];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const __m256i a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x01010101);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kTimes; ++i) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      __m256i pairs;
      asm volatile(
          "vpmaddubsw %3, %2, %1\n\t"
          "vpmaddwd %4, %1, %1\n\t"
          "vpaddd %1, %0, %0"
          : "+x"(sum), "=&x"(pairs)
          : "x"(a), "x"(b), "x"(ones));
    }
  }
  return 32.0 * kChains * kTimes;
}

__attribute__((target("avx2,fma"))) double Fp32Avx2() {
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  const __m256 a = _mm256_set1_ps(0.5F), b = _mm256_set1_ps(1.5F);
  for (int i = 0; i < kTimes; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) asm volatile("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  }
  return 8.0 * kChains * kTimes;
}

double Fastest(double (*probe)(), int bursts) {
  double best = 0;
  for (int i = 0; i < bursts; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const double macs = probe();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    best = std::max(best, macs / took.count());
  }
  return best;
}
#endif

}  // namespace

Peak MeasurePeak(Isa isa, int bursts) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512Vnni) return {Fastest(Int8Vnni, bursts), Fastest(Fp32Avx512, bursts)};
  if (isa == Isa::kAvx2) return {Fastest(Int8Avx2, bursts), Fastest(Fp32Avx2, bursts)};
#else
  static_cast<void>(isa);
  static_cast<void>(bursts);
#endif
  return {};
}

}  // namespace ds::engine
