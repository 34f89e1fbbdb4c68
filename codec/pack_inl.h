// Vectors and blocks of the codec kernels, and how codes are packed. Included by
// codec_kernels_inl.h only.
//
// Work goes block by block: kBlock values are kVectors vectors of 32-bit words, kByteVectors
// vectors of bytes, and kBlock / 8 64-bit lanes of eight values each, which are squeezed to `bits`
// bytes.
#include <cstring>
#include <utility>

#include "codec/kernels.h"

namespace ds::lowbit {
namespace {

// For lambdas that are called from a loop and from its end: a call for each block would cost more
// than the block.
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

// `field` bits of ones, repeated every `period` bits, `shift` up.
constexpr uint64_t Mask(int field, int period, int shift) {
  uint64_t mask = 0;
  for (int at = shift; at < 64; at += period) mask |= ((uint64_t{1} << field) - 1) << at;
  return mask;
}

// In each 64-bit lane eight bytes, a code each, become kBits bytes: neighbours join to pairs, pairs
// to fours, fours to eights.
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
      lanes[v] =
          Gather(in + v * kLanes64 * kBits, kBits, std::make_integer_sequence<int, kLanes64>());
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
  for (; i + kBlock <= count && end - out >= kBlockBytes<kBits> + kSlack;
       i += kBlock, out += kBlockBytes<kBits>) {
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
  for (; i + kBlock <= count && end - in >= kBlockBytes<kBits> + kSlack;
       i += kBlock, in += kBlockBytes<kBits>) {
    decode.template operator()<kInto>(in, values + i);
  }
  for (; i < count; i += kBlock, in += kBlockBytes<kBits>) {
    const int64_t here = count - i < kBlock ? count - i : kBlock;
    uint8_t bytes[kBlockBytes<kBits> + kSlack] = {};
    float decoded[kBlock];
    std::memcpy(bytes, in, static_cast<size_t>(CodeBytes(here, kBits)));
    decode.template operator()<Into::kStore>(bytes, decoded);
    for (int64_t j = 0; j < here; ++j)
      values[i + j] = kInto == Into::kAdd ? Add(values[i + j], decoded[j]) : decoded[j];
  }
}

}  // namespace
}  // namespace ds::lowbit
