// Counter-based random numbers, from base/philox.h. A draw is a pure function of its key and
// position, so threads, ranks and resumes change nothing.
#pragma once

#include <array>
#include <cstdint>

namespace ds {

// Philox of base/philox.h.
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A stream of numbers under a key (seed) and up to two stream numbers. Not thread-safe; cheap to
// make.
class CounterRandom {
 public:
  explicit CounterRandom(uint64_t seed, uint64_t stream = 0, uint32_t substream = 0);

  uint32_t NextUint32();
  // In [0, 1), 24 bits.
  float NextFloat() { return static_cast<float>(NextUint32() >> 8) * 0x1p-24f; }
  // In [0, 1), 53 bits.
  double NextDouble();
  // In [0, bound), unbiased. bound > 0.
  uint32_t NextBelow(uint32_t bound);
  // Standard normal (Box-Muller on two draws).
  double NextNormal();

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_ = {};
  int used_ = 4;
};

// 64-bit FNV-1a of a name: a stream number that depends on nothing else.
uint64_t StreamOf(const char* data, uint64_t size);

}  // namespace ds
