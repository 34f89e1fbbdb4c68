// The kernels of codec_kernels.h on vectors. Included by one source file for each instruction set, after it has defined Isa (see
// codec_kernels_avx2.cc) in ds::lowbit's unnamed namespace; everything here is local to that file, since code
// made for one set must not be linked into another's callers.
//
// Work goes block by block: kBlock values are kVectors vectors of 32-bit words, kByteVectors vectors of bytes, and kBlock / 8
// 64-bit lanes of eight values each, which are squeezed to `bits` bytes.
#include <cstring>
#include <utility>

#include "quant/codec_kernels.h"

namespace ds::lowbit {
namespace {

// For lambdas that are called from a loop and from its end: a call for each block would cost more than the block.
#define DS_ALWAYS_INLINE __attribute__((always_inline))

using F = Isa::F;
using U32 = Isa::U32;
using I32 = Isa::I32;
using U64 = Isa::U64;

constexpr int kLanes = Isa::kLanes;
constexpr int kByteVectors = Isa::kByteVectors;
constexpr int kBlock = kByteVectors * static_cast<int>(sizeof(U64));
constexpr int kVectors = kBlock / kLanes;
constexpr int kLanes64 = kLanes / 2;
static_assert(kBlock % kNoiseGroup == 0);

template <typename To, typename From>
inline To As(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

template <typename Vector>
inline Vector Load(const void* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}

template <typename Vector>
inline void Store(void* to, Vector vector) {
  std::memcpy(to, &vector, sizeof(vector));
}

inline F Broadcast(float value) { return value - F{}; }
inline U32 Magnitude(F values) { return As<U32>(values) & kMagnitudeMask; }

template <Into kInto>
inline void Put(F value, float* to) {
  Store(to, kInto == Into::kAdd ? Load<F>(to) + value : value);
}

// --- Reductions ------------------------------------------------------------------------------------------------------------

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
  for (; i + kLanes <= count; i += kLanes) greatest[0] = Greater(greatest[0], As<I32>(Magnitude(Load<F>(values + i))));
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
  const I32 all_least = Lesser(least[0], least[1]), all_greatest = Greater(greatest[0], greatest[1]);
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
    for (int s = 0; s < kSums; ++s) sums[s] += As<F>(Magnitude(Load<F>(values + i + s * kLanes))) * kSumScale;
  }
  float lanes[kSumLanes];
  std::memcpy(lanes, sums, sizeof(lanes));
  for (int lane = 0; i < count; ++i, ++lane) {
    lanes[lane] = Add(lanes[lane], Multiply(FromBits(Bits(values[i]) & kMagnitudeMask), kSumScale));
  }
  for (int distance = kSumLanes / 2; distance > 0; distance /= 2) {
    for (int lane = 0; lane < distance; ++lane) lanes[lane] = Add(lanes[lane], lanes[lane + distance]);
  }
  return lanes[0];
}

// --- Packing ---------------------------------------------------------------------------------------------------------------

// `field` bits of ones, repeated every `period` bits, `shift` up.
constexpr uint64_t Mask(int field, int period, int shift) {
  uint64_t mask = 0;
  for (int at = shift; at < 64; at += period) mask |= ((uint64_t{1} << field) - 1) << at;
  return mask;
}

// In each 64-bit lane eight bytes, a code each, become kBits bytes: neighbours join to pairs, pairs to fours, fours to eights.
template <int kBits>
inline U64 Squeeze(U64 x) {
  if constexpr (kBits == 8) return x;
  x = (x & Mask(kBits, 16, 0)) | ((x >> (8 - kBits)) & Mask(kBits, 16, kBits));
  x = (x & Mask(2 * kBits, 32, 0)) | ((x >> (16 - 2 * kBits)) & Mask(2 * kBits, 32, 2 * kBits));
  return (x & Mask(4 * kBits, 64, 0)) | ((x >> (32 - 4 * kBits)) & Mask(4 * kBits, 64, 4 * kBits));
}

// The way back; what lies above kBits bytes in a lane is ignored.
template <int kBits>
inline U64 Spread(U64 x) {
  if constexpr (kBits == 8) return x;
  x = (x & Mask(4 * kBits, 64, 0)) | ((x << (32 - 4 * kBits)) & Mask(4 * kBits, 64, 32));
  x = (x & Mask(2 * kBits, 32, 0)) | ((x << (16 - 2 * kBits)) & Mask(2 * kBits, 32, 16));
  return (x & Mask(kBits, 16, 0)) | ((x << (8 - kBits)) & Mask(kBits, 16, 8));
}

template <int kBits>
constexpr int kBlockBytes = kBlock / 8 * kBits;
// A lane is read and written as eight bytes, of which the last ones belong to what follows.
constexpr int kSlack = 8;

// May write kSlack bytes too many.
template <int kBits>
inline void StoreLanes(const U64 (&lanes)[kByteVectors], uint8_t* out) {
  for (int v = 0; v < kByteVectors; ++v) {
    if constexpr (kBits == 8) {
      Store(out + v * sizeof(U64), lanes[v]);
    } else {
      for (int lane = 0; lane < kLanes64; ++lane) {
        const uint64_t word = lanes[v][lane];
        std::memcpy(out + (v * kLanes64 + lane) * kBits, &word, sizeof(word));
      }
    }
  }
}

// Not by way of an array: reading eight small writes back at once stalls.
template <int... kLane>
inline U64 Gather(const uint8_t* in, int stride, std::integer_sequence<int, kLane...>) {
  return U64{Load<uint64_t>(in + kLane * stride)...};
}

// May read kSlack bytes too many.
template <int kBits>
inline void LoadLanes(const uint8_t* in, U64 (&lanes)[kByteVectors]) {
  for (int v = 0; v < kByteVectors; ++v) {
    if constexpr (kBits == 8) {
      lanes[v] = Load<U64>(in + v * sizeof(U64));
    } else {
      lanes[v] = Gather(in + v * kLanes64 * kBits, kBits, std::make_integer_sequence<int, kLanes64>());
    }
  }
}

// codes(from, i, words) makes the codes of the kBlock values at `from`, number i of the bucket.
template <int kBits, typename Codes>
inline void EncodeBlocks(const float* values, int64_t count, uint8_t* out, const Codes& codes) {
  const uint8_t* const end = out + CodeBytes(count, kBits);
  const auto encode = [&](const float* from, int64_t i, uint8_t* to) DS_ALWAYS_INLINE {
    U32 words[kVectors];
    U64 lanes[kByteVectors];
    codes(from, i, words);
    Isa::Pack(words, lanes);
    for (U64& lane : lanes) lane = Squeeze<kBits>(lane);
    StoreLanes<kBits>(lanes, to);
  };
  int64_t i = 0;
  for (; i + kBlock <= count && end - out >= kBlockBytes<kBits> + kSlack; i += kBlock, out += kBlockBytes<kBits>) {
    encode(values + i, i, out);
  }
  // Up to a few blocks are left, the last one short.
  for (; i < count; i += kBlock, out += kBlockBytes<kBits>) {
    uint8_t bytes[kBlockBytes<kBits> + kSlack];
    if (count - i >= kBlock) {
      encode(values + i, i, bytes);
      std::memcpy(out, bytes, kBlockBytes<kBits>);
      continue;
    }
    float padded[kBlock] = {};
    std::memcpy(padded, values + i, static_cast<size_t>(count - i) * sizeof(float));
    encode(padded, i, bytes);
    const int spare = static_cast<int>((count - i) * kBits % 8);
    if (spare != 0) bytes[(count - i) * kBits / 8] &= static_cast<uint8_t>((1 << spare) - 1);
    std::memcpy(out, bytes, static_cast<size_t>(end - out));
  }
}

// value(words) makes a vector of values of a vector of codes.
template <int kBits, Into kInto, typename Value>
inline void DecodeBlocks(const uint8_t* in, int64_t count, float* values, const Value& value) {
  const uint8_t* const end = in + CodeBytes(count, kBits);
  const auto decode = [&]<Into kHere>(const uint8_t* from, float* to) DS_ALWAYS_INLINE {
    U64 lanes[kByteVectors];
    U32 words[kVectors];
    LoadLanes<kBits>(from, lanes);
    for (U64& lane : lanes) lane = Spread<kBits>(lane);
    Isa::Unpack(lanes, words);
    for (int v = 0; v < kVectors; ++v) Put<kHere>(value(words[v]), to + v * kLanes);
  };
  int64_t i = 0;
  for (; i + kBlock <= count && end - in >= kBlockBytes<kBits> + kSlack; i += kBlock, in += kBlockBytes<kBits>) {
    decode.template operator()<kInto>(in, values + i);
  }
  for (; i < count; i += kBlock, in += kBlockBytes<kBits>) {
    const int64_t here = count - i < kBlock ? count - i : kBlock;
    uint8_t bytes[kBlockBytes<kBits> + kSlack] = {};
    float decoded[kBlock];
    std::memcpy(bytes, in, static_cast<size_t>(CodeBytes(here, kBits)));
    decode.template operator()<Into::kStore>(bytes, decoded);
    for (int64_t j = 0; j < here; ++j) values[i + j] = kInto == Into::kAdd ? Add(values[i + j], decoded[j]) : decoded[j];
  }
}

// --- Uniform codes ---------------------------------------------------------------------------------------------------------

// RoundedCode() of codec_math.h.
struct Rounding {
  F origin, inverse;
  uint32_t offset;

  explicit Rounding(const UniformEncoding& encoding)
      : origin(Broadcast(encoding.origin)), inverse(Broadcast(encoding.inverse)), offset(kRounderBits - encoding.bias) {}
  U32 operator()(F values) const { return As<U32>((values - origin) * inverse + kRounder) - offset; }
};

template <int kBits>
void EncodeNearest(const float* values, int64_t count, const UniformEncoding& encoding, uint8_t* out) {
  const Rounding rounded(encoding);
  EncodeBlocks<kBits>(values, count, out, [&](const float* from, int64_t /*i*/, U32(&words)[kVectors]) DS_ALWAYS_INLINE {
    for (int v = 0; v < kVectors; ++v) words[v] = rounded(Load<F>(from + v * kLanes));
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

  explicit WideNoise(const NoiseStream& noise) : high0(noise.high0 - U64{}), high1(noise.high1 - U64{}) {
    uint32_t round_key0 = noise.key0, round_key1 = noise.key1;
    for (int round = 0; round < kPhiloxRounds; ++round) {
      key0[round] = round_key0 - U64{};
      key1[round] = round_key1 - U64{};
      round_key0 += kPhiloxWeyl0;
      round_key1 += kPhiloxWeyl1;
    }
  }
};

// The Philox blocks of a block of values, the first of them `block`, one in each 64-bit lane (its upper half is garbage on the
// way): words 0 and 1 of a Philox block side by side in `first`, words 2 and 3 in `second`.
inline void NoisePairs(const WideNoise& noise, uint64_t block, U64 (&first)[kByteVectors], U64 (&second)[kByteVectors]) {
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
void EncodeStochastic(const float* values, int64_t count, const UniformEncoding& encoding, const NoiseStream& noise,
                      uint64_t first_element, uint8_t* out) {
  constexpr int kNoise = NoiseBits(kBits);
  const Rounding rounded(encoding);
  const WideNoise wide(noise);
  const uint64_t first_block = first_element / 8;
  EncodeBlocks<kBits>(values, count, out, [&](const float* from, int64_t i, U32(&words)[kVectors]) DS_ALWAYS_INLINE {
    U64 first[kByteVectors], second[kByteVectors];
    U32 random[kVectors];
    NoisePairs(wide, first_block + static_cast<uint64_t>(i) / 8, first, second);
    Isa::template SortNoise<kNoise>(first, second, random);
    for (int v = 0; v < kVectors; ++v) words[v] = (rounded(Load<F>(from + v * kLanes)) + random[v]) >> kNoise;
  });
}

template <Into kInto, int kBits>
void DecodeUniform(const uint8_t* in, int64_t count, const UniformGrid& grid, uint32_t bias, float* values) {
  const F origin = Broadcast(grid.origin), step = Broadcast(grid.step);
  const I32 zero = static_cast<int32_t>(bias) - I32{};
  DecodeBlocks<kBits, kInto>(in, count, values, [&](U32 words) DS_ALWAYS_INLINE {
    return origin + __builtin_convertvector(As<I32>(words) - zero, F) * step;
  });
}

// --- Signs -----------------------------------------------------------------------------------------------------------------

void EncodeSigns(const float* values, int64_t count, uint8_t* out) {
  EncodeBlocks<1>(values, count, out, [](const float* from, int64_t /*i*/, U32(&words)[kVectors]) DS_ALWAYS_INLINE {
    for (int v = 0; v < kVectors; ++v) words[v] = Load<U32>(from + v * kLanes) >> 31;
  });
}

template <Into kInto>
void DecodeSigns(const uint8_t* in, int64_t count, float scale, float* values) {
  const U32 positive = As<U32>(Broadcast(scale));
  DecodeBlocks<1, kInto>(in, count, values, [&](U32 words) DS_ALWAYS_INLINE { return As<F>(positive ^ (words << 31)); });
}

// --- Halves ----------------------------------------------------------------------------------------------------------------

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
    return __builtin_convertvector(As<I32>(bits & kMagnitudeMask) > static_cast<int32_t>(kInfinityBits) ? (bits >> 16) | 0x40u : rounded,
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
  for (; i + kLanes <= count; i += kLanes) Put<kInto>(Format::Decode(Load<U16>(in + 2 * i)), values + i);
  if (i == count) return;
  uint16_t padded[kLanes] = {};
  std::memcpy(padded, in + 2 * i, static_cast<size_t>(count - i) * sizeof(uint16_t));
  const F decoded = Format::Decode(Load<U16>(padded));
  for (int lane = 0; i < count; ++i, ++lane) values[i] = kInto == Into::kAdd ? Add(values[i], decoded[lane]) : decoded[lane];
}

void AddFloat32(const uint8_t* in, int64_t count, float* values) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Put<Into::kAdd>(Load<F>(in + 4 * i), values + i);
  for (; i < count; ++i) {
    float value;
    std::memcpy(&value, in + 4 * i, sizeof(value));
    values[i] = Add(values[i], value);
  }
}

// --- Rotation --------------------------------------------------------------------------------------------------------------

// Lane i meets lane i ^ kStride: a + b in the lower one, a - b in the upper.
template <int kStride, int... kLane>
inline F ButterflyWithin(F values, std::integer_sequence<int, kLane...>) {
  const U32 upper = {((kLane & kStride) != 0 ? 0x80000000u : 0u)...};
  const F partners = __builtin_shufflevector(values, values, (kLane ^ kStride)...);
  return partners + As<F>(As<U32>(values) ^ upper);
}

template <int kStride = 1>
inline F ButterfliesWithin(F values) {
  if constexpr (kStride < kLanes) {
    return ButterfliesWithin<kStride * 2>(ButterflyWithin<kStride>(values, std::make_integer_sequence<int, kLanes>()));
  }
  return values;
}

void HadamardOfFew(float* values, int64_t count) {
  for (int64_t stride = 1; stride < count; stride *= 2) {
    for (int64_t i = 0; i < count; ++i) {
      if ((i & stride) != 0) continue;
      const float a = values[i], b = values[i + stride];
      values[i] = Add(a, b);
      values[i + stride] = Add(a, -b);
    }
  }
}

// One stage, or two at once where two are left.
inline void Stages(float* values, int64_t count) {
  int64_t stride = kLanes;
  for (; 2 * stride < count; stride *= 4) {
    for (int64_t start = 0; start < count; start += 4 * stride) {
      for (float* at = values + start; at < values + start + stride; at += kLanes) {
        const F a = Load<F>(at), b = Load<F>(at + stride), c = Load<F>(at + 2 * stride), d = Load<F>(at + 3 * stride);
        const F ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
        Store(at, ab + cd);
        Store(at + stride, a_b + c_d);
        Store(at + 2 * stride, ab - cd);
        Store(at + 3 * stride, a_b - c_d);
      }
    }
  }
  if (stride >= count) return;
  for (float* at = values; at < values + stride; at += kLanes) {
    const F a = Load<F>(at), b = Load<F>(at + stride);
    Store(at, a + b);
    Store(at + stride, a - b);
  }
}

void Hadamard(float* values, int64_t count) {
  if (count < kLanes) return HadamardOfFew(values, count);
  for (int64_t i = 0; i < count; i += kLanes) Store(values + i, ButterfliesWithin(Load<F>(values + i)));
  Stages(values, count);
}

template <int... kLane>
inline U32 LaneNumbers(std::integer_sequence<int, kLane...>) {
  return U32{static_cast<uint32_t>(kLane)...};
}

void Flip(float* values, int64_t count, float scale, const NoiseStream& noise, uint64_t first_element) {
  const U32 lanes = LaneNumbers(std::make_integer_sequence<int, kLanes>());
  int64_t i = 0;
  PhiloxBlock block = {};
  for (; i < count; ++i) {
    const uint64_t element = first_element + static_cast<uint64_t>(i);
    const uint32_t place = static_cast<uint32_t>(element % kSignsOfBlock);
    if (i == 0 || place == 0) block = NoiseBlock(noise, element / kSignsOfBlock);
    const uint32_t word = block.word[place / 32];
    if (place % kLanes == 0 && count - i >= kLanes) {
      const U32 flips = ((word >> (place % 32)) >> lanes) << 31;
      Store(values + i, As<F>(As<U32>(Load<F>(values + i) * scale) ^ flips));
      i += kLanes - 1;
    } else {
      values[i] = WithSign(Multiply(values[i], scale), (word >> (place % 32)) & 1);
    }
  }
}

template <int... kIndex>
constexpr CodecKernels Table(const char* name, std::integer_sequence<int, kIndex...>) {
  return {.name = name,
          .magnitude = MaxMagnitude,
          .range = Range,
          .magnitude_sum = MagnitudeSum,
          .encode_nearest = {EncodeNearest<kIndex + 1>...},
          .encode_stochastic = {EncodeStochastic<kIndex + 1>...},
          .decode = {{DecodeUniform<Into::kStore, kIndex + 1>...}, {DecodeUniform<Into::kAdd, kIndex + 1>...}},
          .encode_signs = EncodeSigns,
          .decode_signs = {DecodeSigns<Into::kStore>, DecodeSigns<Into::kAdd>},
          .encode_float16 = EncodeHalf<Float16Format>,
          .decode_float16 = {DecodeHalf<Float16Format, Into::kStore>, DecodeHalf<Float16Format, Into::kAdd>},
          .encode_bfloat16 = EncodeHalf<BFloat16Format>,
          .decode_bfloat16 = {DecodeHalf<BFloat16Format, Into::kStore>, DecodeHalf<BFloat16Format, Into::kAdd>},
          .add_float32 = AddFloat32,
          .hadamard = Hadamard,
          .flip = Flip};
}

}  // namespace
}  // namespace ds::lowbit
