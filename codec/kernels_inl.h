// The kernels of codec_kernels.h on vectors. Included by one source file for each instruction set,
// after it has defined Isa (see codec_kernels_avx2.cc) in ds::lowbit's unnamed namespace;
// everything here is local to that file, since code made for one set must not be linked into
// another's callers.
#include <cstring>
#include <utility>

#include "codec/few_inl.h"
#include "codec/kernels.h"
#include "codec/pack_inl.h"
#include "codec/rotation_inl.h"

namespace ds::lowbit {
namespace {

// --- Reductions

inline I32 Greater(I32 a, I32 b) { return a > b ? a : b; }
inline I32 Lesser(I32 a, I32 b) { return a < b ? a : b; }
inline I32 OrderedWords(F values) {
  const I32 words = As<I32>(values);
  return words ^ ((words >> 31) & static_cast<int32_t>(kMagnitudeMask));
}

// As signed words: without their signs, no bits are negative.
uint32_t MaxMagnitude(const float* values, int64_t count) {
  constexpr int kUnroll = 4;
  I32 greatest[kUnroll] = {};
  int64_t i = 0;
  for (; i + kUnroll * kLanes <= count; i += kUnroll * kLanes) {
    for (int u = 0; u < kUnroll; ++u) {
      greatest[u] = Greater(greatest[u], As<I32>(Magnitude(Load<F>(values + i + u * kLanes))));
    }
  }
  for (; i + kLanes <= count; i += kLanes)
    greatest[0] = Greater(greatest[0], As<I32>(Magnitude(Load<F>(values + i))));
  const I32 all = Greater(Greater(greatest[0], greatest[1]), Greater(greatest[2], greatest[3]));
  int32_t result = 0;
  for (int lane = 0; lane < kLanes; ++lane) result = all[lane] > result ? all[lane] : result;
  for (; i < count; ++i) {
    const int32_t bits = static_cast<int32_t>(Bits(values[i]) & kMagnitudeMask);
    result = bits > result ? bits : result;
  }
  return static_cast<uint32_t>(result);
}

void Range(const float* values, int64_t count, int32_t* low, int32_t* high) {
  constexpr int kUnroll = 2;
  const int32_t first = Ordered(Bits(values[0]));
  I32 least[kUnroll], greatest[kUnroll];
  for (int u = 0; u < kUnroll; ++u) least[u] = greatest[u] = first - I32{};
  int64_t i = 0;
  for (; i + kUnroll * kLanes <= count; i += kUnroll * kLanes) {
    for (int u = 0; u < kUnroll; ++u) {
      const I32 words = OrderedWords(Load<F>(values + i + u * kLanes));
      least[u] = Lesser(least[u], words);
      greatest[u] = Greater(greatest[u], words);
    }
  }
  const I32 all_least = Lesser(least[0], least[1]),
            all_greatest = Greater(greatest[0], greatest[1]);
  *low = *high = first;
  for (int lane = 0; lane < kLanes; ++lane) {
    *low = all_least[lane] < *low ? all_least[lane] : *low;
    *high = all_greatest[lane] > *high ? all_greatest[lane] : *high;
  }
  for (; i < count; ++i) {
    const int32_t ordered = Ordered(Bits(values[i]));
    *low = ordered < *low ? ordered : *low;
    *high = ordered > *high ? ordered : *high;
  }
}

float MagnitudeSum(const float* values, int64_t count) {
  constexpr int kSums = kSumLanes / kLanes;
  F sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes) {
    for (int s = 0; s < kSums; ++s)
      sums[s] += As<F>(Magnitude(Load<F>(values + i + s * kLanes))) * kSumScale;
  }
  float lanes[kSumLanes];
  std::memcpy(lanes, sums, sizeof(lanes));
  for (int lane = 0; i < count; ++i, ++lane) {
    lanes[lane] = Add(lanes[lane], Multiply(FromBits(Bits(values[i]) & kMagnitudeMask), kSumScale));
  }
  for (int distance = kSumLanes / 2; distance > 0; distance /= 2) {
    for (int lane = 0; lane < distance; ++lane)
      lanes[lane] = Add(lanes[lane], lanes[lane + distance]);
  }
  return lanes[0];
}

// --- Uniform codes

// RoundedCode() of codec_math.h.
struct Rounding {
  F origin, inverse;
  uint32_t offset;

  explicit Rounding(const UniformEncoding& encoding)
      : origin(Broadcast(encoding.origin)),
        inverse(Broadcast(encoding.inverse)),
        offset(kRounderBits - encoding.bias) {}
  U32 operator()(F values) const {
    return As<U32>((values - origin) * inverse + kRounder) - offset;
  }
};

template <int kBits>
void EncodeNearest(const float* values, int64_t count, const UniformEncoding& encoding,
                   uint8_t* out) {
  const Rounding rounded(encoding);
  EncodeBlocks<kBits>(values, count, out,
                      [&](const float* from, int64_t /*i*/, U32(&words)[kVectors])
                          DS_ALWAYS_INLINE {
                            for (int v = 0; v < kVectors; ++v)
                              words[v] = rounded(Load<F>(from + v * kLanes));
                          });
}

template <int... kLane>
inline U64 LaneNumbers64(std::integer_sequence<int, kLane...>) {
  return U64{static_cast<uint64_t>(kLane)...};
}

// A noise stream in every lane, the round keys worked out.
struct WideNoise {
  U64 key0[kPhiloxRounds], key1[kPhiloxRounds];
  U64 high0, high1;

  explicit WideNoise(const NoiseStream& noise)
      : high0(noise.high0 - U64{}), high1(noise.high1 - U64{}) {
    uint32_t round_key0 = noise.key0, round_key1 = noise.key1;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      key0[round] = round_key0 - U64{};
      key1[round] = round_key1 - U64{};
      round_key0 += kPhiloxWeyl0;
      round_key1 += kPhiloxWeyl1;
    }
  }
};

// The Philox blocks of a block of values, the first of them `block`, one in each 64-bit lane (its
// upper half is garbage on the way): words 0 and 1 of a Philox block side by side in `first`, words
// 2 and 3 in `second`.
inline void NoisePairs(const WideNoise& noise, uint64_t block, U64 (&first)[kByteVectors],
                       U64 (&second)[kByteVectors]) {
  constexpr uint64_t kLow = 0xffffffffu;
  const U64 lanes = LaneNumbers64(std::make_integer_sequence<int, kLanes64>());
  for (int v = 0; v < kByteVectors; ++v) {
    U64 c0 = lanes + (block + static_cast<uint64_t>(v * kLanes64)), c1 = c0 >> 32;
    U64 c2 = noise.high0, c3 = noise.high1;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const U64 product0 = Isa::MultiplyLow32(c0, kPhiloxMultiplier0);
      const U64 product1 = Isa::MultiplyLow32(c2, kPhiloxMultiplier1);
      c0 = (product1 >> 32) ^ (c1 ^ noise.key0[round]);
      c1 = product1;
      c2 = (product0 >> 32) ^ (c3 ^ noise.key1[round]);
      c3 = product0;
    }
    first[v] = (c0 & kLow) | (c1 << 32);
    second[v] = (c2 & kLow) | (c3 << 32);
  }
}

template <int kBits>
void EncodeStochastic(const float* values, int64_t count, const UniformEncoding& encoding,
                      const NoiseStream& noise, uint64_t first_element, uint8_t* out) {
  constexpr int kNoise = NoiseBits(kBits);
  const Rounding rounded(encoding);
  const WideNoise wide(noise);
  const uint64_t first_block = first_element / 8;
  EncodeBlocks<kBits>(values, count, out,
                      [&](const float* from, int64_t i, U32(&words)[kVectors]) DS_ALWAYS_INLINE {
                        U64 first[kByteVectors], second[kByteVectors];
                        U32 random[kVectors];
                        NoisePairs(wide, first_block + static_cast<uint64_t>(i) / 8, first, second);
                        Isa::template SortNoise<kNoise>(first, second, random);
                        for (int v = 0; v < kVectors; ++v)
                          words[v] = (rounded(Load<F>(from + v * kLanes)) + random[v]) >> kNoise;
                      });
}

template <Into kInto, int kBits>
void DecodeUniform(const uint8_t* in, int64_t count, const UniformGrid& grid, uint32_t bias,
                   float* values) {
  const F origin = Broadcast(grid.origin), step = Broadcast(grid.step);
  const I32 zero = static_cast<int32_t>(bias) - I32{};
  DecodeBlocks<kBits, kInto>(in, count, values, [&](U32 words) DS_ALWAYS_INLINE {
    return origin + __builtin_convertvector(As<I32>(words) - zero, F) * step;
  });
}

// --- Signs

void EncodeSigns(const float* values, int64_t count, uint8_t* out) {
  EncodeBlocks<1>(values, count, out,
                  [](const float* from, int64_t /*i*/, U32(&words)[kVectors]) DS_ALWAYS_INLINE {
                    for (int v = 0; v < kVectors; ++v)
                      words[v] = Load<U32>(from + v * kLanes) >> 31;
                  });
}

template <Into kInto>
void DecodeSigns(const uint8_t* in, int64_t count, float scale, float* values) {
  const U32 positive = As<U32>(Broadcast(scale));
  DecodeBlocks<1, kInto>(in, count, values, [&](U32 words) DS_ALWAYS_INLINE {
    return As<F>(positive ^ (words << 31));
  });
}

// --- Halves

typedef uint16_t U16 __attribute__((vector_size(kLanes * 2)));

// encode(F) -> U16 and decode(U16) -> F of a format.
struct Float16Format {
  static U16 Encode(F values) { return Isa::ToFloat16(values); }
  static F Decode(U16 halves) { return Isa::FromFloat16(halves); }
};

struct BFloat16Format {
  static U16 Encode(F values) {
    const U32 bits = As<U32>(values);
    const U32 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return __builtin_convertvector(
        As<I32>(bits & kMagnitudeMask) > static_cast<int32_t>(kInfinityBits) ? (bits >> 16) | 0x40u
                                                                             : rounded,
        U16);
  }
  static F Decode(U16 halves) { return As<F>(__builtin_convertvector(halves, U32) << 16); }
};

template <typename Format>
void EncodeHalf(const float* values, int64_t count, uint8_t* out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(out + 2 * i, Format::Encode(Load<F>(values + i)));
  if (i == count) return;
  float padded[kLanes] = {};
  std::memcpy(padded, values + i, static_cast<size_t>(count - i) * sizeof(float));
  const U16 halves = Format::Encode(Load<F>(padded));
  std::memcpy(out + 2 * i, &halves, static_cast<size_t>(count - i) * sizeof(uint16_t));
}

template <typename Format, Into kInto>
void DecodeHalf(const uint8_t* in, int64_t count, float* values) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    Put<kInto>(Format::Decode(Load<U16>(in + 2 * i)), values + i);
  if (i == count) return;
  uint16_t padded[kLanes] = {};
  std::memcpy(padded, in + 2 * i, static_cast<size_t>(count - i) * sizeof(uint16_t));
  const F decoded = Format::Decode(Load<U16>(padded));
  for (int lane = 0; i < count; ++i, ++lane)
    values[i] = kInto == Into::kAdd ? Add(values[i], decoded[lane]) : decoded[lane];
}

void AddFloat32(const uint8_t* in, int64_t count, float* values) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Put<Into::kAdd>(Load<F>(in + 4 * i), values + i);
  AddFewFloat32(in + 4 * i, count - i, values + i);
}

template <int... kIndex>
constexpr CodecKernels Table(const char* name, std::integer_sequence<int, kIndex...>) {
  return {.name = name,
          .magnitude = MaxMagnitude,
          .range = Range,
          .magnitude_sum = MagnitudeSum,
          .encode_nearest = {EncodeNearest<kIndex + 1>...},
          .encode_stochastic = {EncodeStochastic<kIndex + 1>...},
          .decode = {{DecodeUniform<Into::kStore, kIndex + 1>...},
                     {DecodeUniform<Into::kAdd, kIndex + 1>...}},
          .encode_signs = EncodeSigns,
          .decode_signs = {DecodeSigns<Into::kStore>, DecodeSigns<Into::kAdd>},
          .encode_float16 = EncodeHalf<Float16Format>,
          .decode_float16 = {DecodeHalf<Float16Format, Into::kStore>,
                             DecodeHalf<Float16Format, Into::kAdd>},
          .encode_bfloat16 = EncodeHalf<BFloat16Format>,
          .decode_bfloat16 = {DecodeHalf<BFloat16Format, Into::kStore>,
                              DecodeHalf<BFloat16Format, Into::kAdd>},
          .add_float32 = AddFloat32,
          .hadamard = Hadamard,
          .flip = Flip};
}

}  // namespace
}  // namespace ds::lowbit
