// The loops of the codecs, one table an instruction set, all of them with the same bits. A call
// handles one bucket, or any number of values where nothing is shared among them. Plain C++ without
// Abseil, so that it cross-compiles alone.
//
// Bytes need no alignment. Codes of `bits` bits are packed without gaps, value i at bits [i * bits,
// (i + 1) * bits) of a little-endian string of (count * bits + 7) / 8 bytes; encoders set the bits
// left over to 0, decoders ignore them.
#pragma once

#include <cstdint>

#include "codec/codec_math.h"

namespace ds::lowbit {

constexpr int kMaxBits = 8;

DS_HOST_DEVICE_INLINE constexpr int64_t CodeBytes(int64_t count, int bits) {
  return (count * bits + 7) / 8;
}

// What is decoded is stored, or added to what is there.
enum class Into : int { kStore = 0, kAdd = 1 };

struct CodecKernels {
  const char* name;

  // The greatest of the values' bits without signs; 0 of none.
  uint32_t (*magnitude)(const float* values, int64_t count);
  // Least and greatest Ordered(); count > 0.
  void (*range)(const float* values, int64_t count, int32_t* low, int32_t* high);
  // In the lanes of kSumLanes, scaled by kSumScale.
  float (*magnitude_sum)(const float* values, int64_t count);

  // [bits - 1]. `first_element`: the place of values[0] in its tensor, a multiple of kNoiseGroup.
  void (*encode_nearest[kMaxBits])(const float* values, int64_t count,
                                   const UniformEncoding& encoding, uint8_t* out);
  void (*encode_stochastic[kMaxBits])(const float* values, int64_t count,
                                      const UniformEncoding& encoding, const NoiseStream& noise,
                                      uint64_t first_element, uint8_t* out);
  // [Into][bits - 1]. The bits of `in` may be any.
  void (*decode[2][kMaxBits])(const uint8_t* in, int64_t count, const UniformGrid& grid,
                              uint32_t bias, float* values);

  // Sign bits, packed as codes of one bit; 1 is negative.
  void (*encode_signs)(const float* values, int64_t count, uint8_t* out);
  void (*decode_signs[2])(const uint8_t* in, int64_t count, float scale, float* values);

  // Little-endian binary16 and bfloat16, rounded to nearest, ties to even.
  void (*encode_float16)(const float* values, int64_t count, uint8_t* out);
  void (*decode_float16[2])(const uint8_t* in, int64_t count, float* values);
  void (*encode_bfloat16)(const float* values, int64_t count, uint8_t* out);
  void (*decode_bfloat16[2])(const uint8_t* in, int64_t count, float* values);

  // values += what is in `in`, little-endian binary32.
  void (*add_float32)(const uint8_t* in, int64_t count, float* values);

  // Unnormalised Walsh-Hadamard transform in place, strides 1, 2, 4, ...; count is a power of two.
  void (*hadamard)(float* values, int64_t count);
  // values *= scale, and the signs that RotationFlips() says are flipped. `first_element` is a
  // multiple of kSignsOfBlock or the count is less than up to the next one.
  void (*flip)(float* values, int64_t count, float scale, const NoiseStream& noise,
               uint64_t first_element);
};

enum class InstructionSet { kScalar, kAvx2, kAvx512, kNeon };

// Null where this program or this processor lacks the instruction set.
const CodecKernels* KernelsFor(InstructionSet set);
// The fastest that this processor has.
const CodecKernels& BestKernels();

// One a source file; those of other processors' instruction sets are not built.
const CodecKernels& ScalarKernels();
const CodecKernels& Avx2Kernels();
const CodecKernels& Avx512Kernels();
const CodecKernels& NeonKernels();

}  // namespace ds::lowbit
