// The arithmetic of the low-bit codecs, value by value: what a code means, how noise is drawn, how
// a bucket's grid follows from its range. One source for the scalar reference, the vector kernels'
// definitions and the CUDA kernels, so that all of them make the same bits. docs/codecs.md says the
// same in words.
//
// Whoever includes it compiles with -ffp-contract=off: a fused multiply-add rounds once where this
// rounds twice.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/philox.h"
#include "base/tensor/host_device.h"

namespace ds::lowbit {

// --- Floats and their bits

constexpr uint32_t kInfinityBits = 0x7f800000u;
constexpr uint32_t kNanBits =
    0x7fc00000u;  // how a poisoned scale is written, and what is decoded from it
constexpr uint32_t kMagnitudeMask = 0x7fffffffu;

DS_HOST_DEVICE_INLINE uint32_t Bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

DS_HOST_DEVICE_INLINE float FromBits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

DS_HOST_DEVICE_INLINE bool IsFinite(float value) {
  return (Bits(value) & kMagnitudeMask) < kInfinityBits;
}

// Integers in the order of the floats, -0 before +0 and every NaN outside the infinities: minimum
// and maximum over them do not depend on the order of the values, nor on how an instruction treats
// a NaN. Its own inverse.
DS_HOST_DEVICE_INLINE int32_t Ordered(uint32_t bits) {
  const int32_t word = static_cast<int32_t>(bits);
  return word < 0 ? static_cast<int32_t>(bits ^ kMagnitudeMask) : word;
}

DS_HOST_DEVICE_INLINE float FromOrdered(int32_t ordered) {
  return FromBits(static_cast<uint32_t>(Ordered(static_cast<uint32_t>(ordered))));
}

// Each operation rounded by itself, which nvcc would not promise otherwise.
DS_HOST_DEVICE_INLINE float Add(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

DS_HOST_DEVICE_INLINE float Multiply(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

DS_HOST_DEVICE_INLINE float Divide(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

// --- Noise

// The numbers of one encoding: a key, and the upper half of every counter; the lower half counts
// blocks.
struct NoiseStream {
  uint32_t key0, key1;
  uint32_t high0, high1;
};

enum class NoiseUse : uint32_t { kRounding = 0, kRotation = 1 };

// Two Philox blocks, chained, turn the names into 128 bits.
DS_HOST_DEVICE_INLINE NoiseStream MakeNoiseStream(uint64_t seed, uint64_t step, uint64_t tensor,
                                                  uint64_t rank, NoiseUse use) {
  const uint32_t seed0 = static_cast<uint32_t>(seed), seed1 = static_cast<uint32_t>(seed >> 32);
  PhiloxBlock c = {{static_cast<uint32_t>(tensor), static_cast<uint32_t>(tensor >> 32),
                    static_cast<uint32_t>(rank), static_cast<uint32_t>(rank >> 32)}};
  c = Philox(c, seed0, seed1);
  c.word[0] ^= static_cast<uint32_t>(step);
  c.word[1] ^= static_cast<uint32_t>(step >> 32);
  c.word[2] ^= static_cast<uint32_t>(use);
  c = Philox(c, seed0, seed1);
  return {c.word[0], c.word[1], c.word[2], c.word[3]};
}

DS_HOST_DEVICE_INLINE PhiloxBlock NoiseBlock(const NoiseStream& stream, uint64_t block) {
  return Philox({{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), stream.high0,
                  stream.high1}},
                stream.key0, stream.key1);
}

// A block serves eight values. Which ones is arranged for vectors of eight lanes: of each 32
// values, four blocks make two vectors of words (first and second word side by side, third and
// fourth), whose lower and upper halves are the noise of 8 values each.
constexpr int kNoiseGroup = 32;

// 16 bits for the value at `element` of its tensor.
DS_HOST_DEVICE_INLINE uint32_t Noise16(const NoiseStream& stream, uint64_t element) {
  const uint64_t block = element / kNoiseGroup * 4 + element % 8 / 2;
  const uint32_t word = static_cast<uint32_t>((element & 1) | ((element >> 3) & 2));
  const uint32_t half = static_cast<uint32_t>((element >> 3) & 1);
  return (NoiseBlock(stream, block).word[word] >> (16 * half)) & 0xffffu;
}

// Whether a rotation flips the value at `element`: a bit of block element / 128.
constexpr int kSignsOfBlock = 128;
DS_HOST_DEVICE_INLINE bool RotationFlips(const NoiseStream& stream, uint64_t element) {
  const PhiloxBlock block = NoiseBlock(stream, element / kSignsOfBlock);
  return ((block.word[element % kSignsOfBlock / 32] >> (element % 32)) & 1) != 0;
}

// --- Uniform grids

// A bucket's step below this is taken as 0: the whole bucket decodes to its origin. Keeps every
// inverse finite.
constexpr float kSmallestStep = 0x1p-110f;

// Bits of noise that stochastic rounding at `bits` uses: as many as keep code * 2^noise exact in a
// float's mantissa.
DS_HOST_DEVICE_INLINE constexpr int NoiseBits(int bits) { return bits <= 5 ? 16 : 21 - bits; }

// value = origin + (code - bias) * step. With one bit at max-norm: code 0 is +step, code 1 is
// -step.
struct UniformGrid {
  float origin;
  float step;  // NaN: poisoned; 0: every value is the origin
};

// Steps on either side of zero at max-norm, bits >= 2; it is also the code of zero.
DS_HOST_DEVICE_INLINE constexpr int MaxNormSteps(int bits) { return (1 << (bits - 1)) - 1; }
DS_HOST_DEVICE_INLINE constexpr int MinMaxSteps(int bits) { return (1 << bits) - 1; }

DS_HOST_DEVICE_INLINE UniformGrid PoisonedGrid() {
  return {FromBits(kNanBits), FromBits(kNanBits)};
}

// `magnitude`: the greatest of the values' bits without their signs.
DS_HOST_DEVICE_INLINE UniformGrid MaxNormGrid(int bits, uint32_t magnitude) {
  if (magnitude >= kInfinityBits) return PoisonedGrid();
  const float norm = FromBits(magnitude),
              steps = static_cast<float>(bits == 1 ? 1 : MaxNormSteps(bits));
  float step = Divide(norm, steps);
  // Beside the greatest float a step that was rounded up would decode to infinity.
  if (!IsFinite(Multiply(step, steps))) step = FromBits(Bits(step) - 1);
  return {0.0f, step < kSmallestStep ? 0.0f : step};
}

// `low`, `high`: least and greatest of the values' Ordered() bits.
DS_HOST_DEVICE_INLINE UniformGrid MinMaxGrid(int bits, int32_t low, int32_t high) {
  const float origin = Add(FromOrdered(low), 0.0f), top = FromOrdered(high);  // a -0 becomes +0
  if (!IsFinite(origin) || !IsFinite(top)) return PoisonedGrid();
  const float steps = static_cast<float>(MinMaxSteps(bits));
  const float step = Divide(Add(top, -origin), steps);
  if (!IsFinite(Add(origin, Multiply(step, steps)))) return PoisonedGrid();
  return {origin, step < kSmallestStep ? 0.0f : step};
}

// What an encoder multiplies with and adds.
struct UniformEncoding {
  float origin;
  float inverse;  // codes a unit; where rounding is stochastic, times 2^NoiseBits
  uint32_t bias;  // the code of the origin, likewise
};

// step > 0.
DS_HOST_DEVICE_INLINE UniformEncoding EncodingOf(const UniformGrid& grid, int bits, bool max_norm,
                                                 bool stochastic) {
  const int noise_bits = NoiseBits(bits);
  const float unit = stochastic ? static_cast<float>(1 << noise_bits) : 1.0f;
  const uint32_t one = stochastic ? 1u << noise_bits : 1u;
  if (!max_norm) return {grid.origin, Multiply(Divide(1.0f, grid.step), unit), 0};
  // One bit (only met with noise: its nearest rounding takes signs): half way between the codes of
  // -step and step.
  if (bits == 1) return {0.0f, Multiply(Divide(-0.5f, grid.step), unit), one / 2};
  return {0.0f, Multiply(Divide(1.0f, grid.step), unit),
          one * static_cast<uint32_t>(MaxNormSteps(bits))};
}

// Adding 1.5 * 2^23 rounds a float below 2^22 in magnitude to an integer, ties to even, and leaves
// it in the low bits.
constexpr float kRounder = 12582912.0f;
constexpr uint32_t kRounderBits = 0x4B400000u;

DS_HOST_DEVICE_INLINE uint32_t RoundedCode(float value, const UniformEncoding& encoding) {
  const float scaled = Multiply(Add(value, -encoding.origin), encoding.inverse);
  return Bits(Add(scaled, kRounder)) - (kRounderBits - encoding.bias);
}

// `noise16`: of Noise16. Up with a probability of the fraction, in units of 2^-NoiseBits.
DS_HOST_DEVICE_INLINE uint32_t StochasticCode(float value, const UniformEncoding& encoding,
                                              uint32_t noise16, int bits) {
  const int noise_bits = NoiseBits(bits);
  return (RoundedCode(value, encoding) + (noise16 >> (16 - noise_bits))) >> noise_bits;
}

DS_HOST_DEVICE_INLINE float ValueOfCode(uint32_t code, const UniformGrid& grid, uint32_t bias) {
  const float steps = static_cast<float>(static_cast<int32_t>(code) - static_cast<int32_t>(bias));
  return Add(grid.origin, Multiply(steps, grid.step));
}

// --- Sign codec

DS_HOST_DEVICE_INLINE uint32_t SignOf(float value) { return Bits(value) >> 31; }
DS_HOST_DEVICE_INLINE float WithSign(float scale, uint32_t sign) {
  return FromBits(Bits(scale) ^ (sign << 31));
}

// Magnitudes are summed in this many lanes, value i in lane i % 16, each scaled so that 4096 of the
// greatest float fit; then lanes i and i + 8, i + 4, i + 2, i + 1.
constexpr int kSumLanes = 16;
constexpr float kSumScale = 0x1p-12f;

// The bucket's scale, from the sum and the greatest of the values' bits without signs.
DS_HOST_DEVICE_INLINE float MeanMagnitude(float scaled_sum, uint32_t magnitude, int64_t count) {
  const float mean = Multiply(scaled_sum, Divide(1.0f / kSumScale, static_cast<float>(count)));
  if (magnitude >= kInfinityBits || !IsFinite(mean)) return FromBits(kNanBits);
  return mean < kSmallestStep ? 0.0f : mean;
}

// --- Rotation

// 2^(-log2_count / 2): what makes a Hadamard transform of 2^log2_count values orthonormal.
DS_HOST_DEVICE_INLINE float RotationScale(int log2_count) {
  const float whole = FromBits(static_cast<uint32_t>(127 - log2_count / 2) << 23);
  return log2_count % 2 == 0 ? whole : Multiply(whole, 0.70710678f);
}

// --- Top-k

constexpr uint32_t kPoisonIndex = 0xffffu;

}  // namespace ds::lowbit
