// Packing over one way to squeeze and spread a word: included by one source an instruction set,
// whose own all of it is (no function of the standard library, lest another source get one that
// was compiled for a newer processor).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "federated/update/packing.h"

namespace ds::federated {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values lie in memory as they travel: least significant byte first");

constexpr int kGroup = 8;  // values, which take a whole number of bytes at any bits

// `field` bits of ones, repeated every `period` bits.
constexpr uint64_t FieldMask(int field, int period) {
  uint64_t mask = 0;
  for (int at = 0; at < 64; at += period) mask |= (~uint64_t{0} >> (64 - field)) << at;
  return mask;
}

// Eight values lie in kWords words of 64 bits, which squeezed leave kPart bits each.
template <class Ways, int kBits>
struct Eight {
  static constexpr int kLane = kBits <= 8 ? 8 : kBits <= 16 ? 16 : 32;
  static constexpr int kWidth = kLane / 8;
  static constexpr int kWords = kLane / 8;
  static constexpr int kPart = 64 / kLane * kBits;
  // What a group's words may touch of the next one's.
  static constexpr int kWhole = (kBits + 7) / 8 * 8;

  // Of `out` kBits bytes count; kTouched are written.
  template <int kTouched>
  static void Pack(const std::byte* in, std::byte* out) {
    uint64_t joined[kWords + 1] = {};
    for (int w = 0; w < kWords; ++w) {
      uint64_t word;
      std::memcpy(&word, in + 8 * w, 8);
      word = Ways::template Squeeze<kBits, kLane>(word);
      const int at = w * kPart / 64, shift = w * kPart % 64;
      joined[at] |= word << shift;
      if (shift + kPart > 64) joined[at + 1] |= word >> ((64 - shift) % 64);
    }
    std::memcpy(out, joined, kTouched);
  }

  // kTouched bytes of `in` are read.
  template <int kTouched>
  static void Unpack(const std::byte* in, std::byte* out) {
    uint64_t joined[kWords + 1] = {};
    std::memcpy(joined, in, kTouched);
    for (int w = 0; w < kWords; ++w) {
      const int at = w * kPart / 64, shift = w * kPart % 64;
      uint64_t word = joined[at] >> shift;
      if (shift + kPart > 64) word |= joined[at + 1] << ((64 - shift) % 64);
      word = Ways::template Spread<kBits, kLane>(word);
      std::memcpy(out + 8 * w, &word, 8);
    }
  }
};

template <class Ways, int kBits>
void PackGroups(const std::byte* in, int64_t count, std::byte* out) {
  using Group = Eight<Ways, kBits>;
  // Whole words, as long as what they write behind the group is written again.
  constexpr int64_t kBehind = kGroup * ((Group::kWhole + kBits - 1) / kBits);
  int64_t i = 0;
  for (; i + kBehind <= count; i += kGroup, out += kBits)
    Group::template Pack<Group::kWhole>(in + i * Group::kWidth, out);
  for (; i + kGroup <= count; i += kGroup, out += kBits)
    Group::template Pack<kBits>(in + i * Group::kWidth, out);
  if (i == count) return;
  std::byte values[kGroup * Group::kWidth] = {}, packed[kBits];
  std::memcpy(values, in + i * Group::kWidth, static_cast<size_t>((count - i) * Group::kWidth));
  Group::template Pack<kBits>(values, packed);
  std::memcpy(out, packed, static_cast<size_t>(((count - i) * kBits + 7) / 8));
}

template <class Ways, int kBits>
void UnpackGroups(const std::byte* in, int64_t count, std::byte* out) {
  using Group = Eight<Ways, kBits>;
  constexpr int64_t kBehind = kGroup * ((Group::kWhole + kBits - 1) / kBits);
  int64_t i = 0;
  for (; i + kBehind <= count; i += kGroup, in += kBits)
    Group::template Unpack<Group::kWhole>(in, out + i * Group::kWidth);
  for (; i + kGroup <= count; i += kGroup, in += kBits)
    Group::template Unpack<kBits>(in, out + i * Group::kWidth);
  if (i == count) return;
  std::byte values[kGroup * Group::kWidth], packed[kBits] = {};
  std::memcpy(packed, in, static_cast<size_t>(((count - i) * kBits + 7) / 8));
  Group::template Unpack<kBits>(packed, values);
  std::memcpy(out + i * Group::kWidth, values, static_cast<size_t>((count - i) * Group::kWidth));
}

template <class Ways, int kBits>
constexpr void FillFrom(PackingKernels& kernels) {
  kernels.pack[kBits - 1] = PackGroups<Ways, kBits>;
  kernels.unpack[kBits - 1] = UnpackGroups<Ways, kBits>;
  if constexpr (kBits < 32) FillFrom<Ways, kBits + 1>(kernels);
}

template <class Ways>
constexpr PackingKernels MakeKernels() {
  PackingKernels kernels = {};
  FillFrom<Ways, 1>(kernels);
  return kernels;
}

}  // namespace
}  // namespace ds::federated
