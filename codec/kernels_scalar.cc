// The reference: value by value, as codec_math.h defines them.
#include <cstring>
#include <utility>

#include "base/tensor/float16.h"
#include "codec/few_inl.h"
#include "codec/kernels.h"

namespace ds::lowbit {
namespace {

uint32_t Magnitude(const float* values, int64_t count) {
  uint32_t greatest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = Bits(values[i]) & kMagnitudeMask;
    greatest = bits > greatest ? bits : greatest;
  }
  return greatest;
}

void Range(const float* values, int64_t count, int32_t* low, int32_t* high) {
  *low = *high = Ordered(Bits(values[0]));
  for (int64_t i = 1; i < count; ++i) {
    const int32_t ordered = Ordered(Bits(values[i]));
    *low = ordered < *low ? ordered : *low;
    *high = ordered > *high ? ordered : *high;
  }
}

float MagnitudeSum(const float* values, int64_t count) {
  float lanes[kSumLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    float& lane = lanes[i % kSumLanes];
    lane = Add(lane, Multiply(FromBits(Bits(values[i]) & kMagnitudeMask), kSumScale));
  }
  for (int distance = kSumLanes / 2; distance > 0; distance /= 2) {
    for (int i = 0; i < distance; ++i) lanes[i] = Add(lanes[i], lanes[i + distance]);
  }
  return lanes[0];
}

// Packs what code(i) gives.
template <typename CodeOf>
void Pack(int64_t count, int bits, uint8_t* out, const CodeOf& code) {
  uint32_t pending = 0;
  int pending_bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    pending |= code(i) << pending_bits;
    for (pending_bits += bits; pending_bits >= 8; pending_bits -= 8) {
      *out++ = static_cast<uint8_t>(pending);
      pending >>= 8;
    }
  }
  if (pending_bits > 0) *out = static_cast<uint8_t>(pending);
}

uint32_t Unpack(const uint8_t* in, int64_t index, int bits) {
  const int64_t bit = index * bits;
  const int64_t last_bit = bit + bits - 1;
  uint32_t word = in[bit / 8];
  if (last_bit / 8 != bit / 8) word |= static_cast<uint32_t>(in[last_bit / 8]) << 8;
  return (word >> (bit % 8)) & ((1u << bits) - 1);
}

template <int kBits>
void EncodeNearest(const float* values, int64_t count, const UniformEncoding& encoding,
                   uint8_t* out) {
  Pack(count, kBits, out, [&](int64_t i) { return RoundedCode(values[i], encoding); });
}

template <int kBits>
void EncodeStochastic(const float* values, int64_t count, const UniformEncoding& encoding,
                      const NoiseStream& noise, uint64_t first_element, uint8_t* out) {
  Pack(count, kBits, out, [&](int64_t i) {
    return StochasticCode(values[i], encoding,
                          Noise16(noise, first_element + static_cast<uint64_t>(i)), kBits);
  });
}

template <Into kInto>
void Put(float value, float* to) {
  *to = kInto == Into::kAdd ? Add(*to, value) : value;
}

template <Into kInto, int kBits>
void DecodeUniform(const uint8_t* in, int64_t count, const UniformGrid& grid, uint32_t bias,
                   float* values) {
  for (int64_t i = 0; i < count; ++i)
    Put<kInto>(ValueOfCode(Unpack(in, i, kBits), grid, bias), values + i);
}

void EncodeSigns(const float* values, int64_t count, uint8_t* out) {
  Pack(count, 1, out, [&](int64_t i) { return SignOf(values[i]); });
}

template <Into kInto>
void DecodeSigns(const uint8_t* in, int64_t count, float scale, float* values) {
  for (int64_t i = 0; i < count; ++i) Put<kInto>(WithSign(scale, Unpack(in, i, 1)), values + i);
}

template <typename Half>
void EncodeHalf(const float* values, int64_t count, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = Half(values[i]).bits;
    out[2 * i] = static_cast<uint8_t>(bits);
    out[2 * i + 1] = static_cast<uint8_t>(bits >> 8);
  }
}

template <typename Half, Into kInto>
void DecodeHalf(const uint8_t* in, int64_t count, float* values) {
  for (int64_t i = 0; i < count; ++i) {
    Half half;
    half.bits = static_cast<uint16_t>(in[2 * i] | in[2 * i + 1] << 8);
    Put<kInto>(static_cast<float>(half), values + i);
  }
}

void Flip(float* values, int64_t count, float scale, const NoiseStream& noise,
          uint64_t first_element) {
  for (int64_t i = 0; i < count; ++i) {
    const bool flips = RotationFlips(noise, first_element + static_cast<uint64_t>(i));
    values[i] = WithSign(Multiply(values[i], scale), flips ? 1 : 0);
  }
}

template <int... kIndex>
constexpr CodecKernels Table(std::integer_sequence<int, kIndex...>) {
  return {.name = "scalar",
          .magnitude = Magnitude,
          .range = Range,
          .magnitude_sum = MagnitudeSum,
          .encode_nearest = {EncodeNearest<kIndex + 1>...},
          .encode_stochastic = {EncodeStochastic<kIndex + 1>...},
          .decode = {{DecodeUniform<Into::kStore, kIndex + 1>...},
                     {DecodeUniform<Into::kAdd, kIndex + 1>...}},
          .encode_signs = EncodeSigns,
          .decode_signs = {DecodeSigns<Into::kStore>, DecodeSigns<Into::kAdd>},
          .encode_float16 = EncodeHalf<Float16>,
          .decode_float16 = {DecodeHalf<Float16, Into::kStore>, DecodeHalf<Float16, Into::kAdd>},
          .encode_bfloat16 = EncodeHalf<BFloat16>,
          .decode_bfloat16 = {DecodeHalf<BFloat16, Into::kStore>, DecodeHalf<BFloat16, Into::kAdd>},
          .add_float32 = AddFewFloat32,
          .hadamard = HadamardOfFew,
          .flip = Flip};
}

}  // namespace

const CodecKernels& ScalarKernels() {
  static constexpr CodecKernels kTable = Table(std::make_integer_sequence<int, kMaxBits>());
  return kTable;
}

}  // namespace ds::lowbit
