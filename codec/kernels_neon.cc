// Codec kernels for NEON (any 64-bit ARM).
#include <arm_neon.h>

#include <cstdint>

namespace ds::lowbit {
namespace {

struct Isa {
  typedef float F __attribute__((vector_size(16)));
  typedef uint32_t U32 __attribute__((vector_size(16)));
  typedef int32_t I32 __attribute__((vector_size(16)));
  typedef uint64_t U64 __attribute__((vector_size(16)));
  typedef uint16_t U16 __attribute__((vector_size(8)));
  static constexpr int kLanes = 4;
  static constexpr int kByteVectors = 2;
  static constexpr int kVectors = 8;

  static U64 MultiplyLow32(U64 a, uint32_t b) {
    return (U64)vmull_n_u32(vmovn_u64((uint64x2_t)a), b);
  }

  static void Pack(const U32 (&words)[kVectors], U64 (&bytes)[2]) {
    for (int v = 0; v < 2; ++v) {
      const U32* w = words + 4 * v;
      const uint16x8_t low = vcombine_u16(vmovn_u32((uint32x4_t)w[0]), vmovn_u32((uint32x4_t)w[1]));
      const uint16x8_t high =
          vcombine_u16(vmovn_u32((uint32x4_t)w[2]), vmovn_u32((uint32x4_t)w[3]));
      bytes[v] = (U64)vcombine_u8(vmovn_u16(low), vmovn_u16(high));
    }
  }

  static void Unpack(const U64 (&bytes)[2], U32 (&words)[kVectors]) {
    for (int v = 0; v < 2; ++v) {
      U32* w = words + 4 * v;
      const uint16x8_t low = vmovl_u8(vget_low_u8((uint8x16_t)bytes[v]));
      const uint16x8_t high = vmovl_u8(vget_high_u8((uint8x16_t)bytes[v]));
      w[0] = (U32)vmovl_u16(vget_low_u16(low));
      w[1] = (U32)vmovl_u16(vget_high_u16(low));
      w[2] = (U32)vmovl_u16(vget_low_u16(high));
      w[3] = (U32)vmovl_u16(vget_high_u16(high));
    }
  }

  // Of NoisePairs(), the kNoise upper bits of each value's Noise16(), in the order of the values.
  template <int kNoise>
  static void SortNoise(const U64 (&first)[2], const U64 (&second)[2], U32 (&words)[kVectors]) {
    for (int v = 0; v < 2; ++v) {
      words[v] = ((U32)first[v] & 0xffffu) >> (16 - kNoise);
      words[2 + v] = (U32)first[v] >> (32 - kNoise);
      words[4 + v] = ((U32)second[v] & 0xffffu) >> (16 - kNoise);
      words[6 + v] = (U32)second[v] >> (32 - kNoise);
    }
  }

  static U16 ToFloat16(F values) { return (U16)vcvt_f16_f32((float32x4_t)values); }
  static F FromFloat16(U16 halves) { return (F)vcvt_f32_f16((float16x4_t)halves); }
};

}  // namespace
}  // namespace ds::lowbit

#include "codec/kernels_inl.h"

namespace ds::lowbit {

const CodecKernels& NeonKernels() {
  static constexpr CodecKernels kTable = Table("neon", std::make_integer_sequence<int, kMaxBits>());
  return kTable;
}

}  // namespace ds::lowbit
