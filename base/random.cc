#include "base/random.h"

#include <cmath>
#include <numbers>

#include "base/philox.h"

namespace ds {
std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  const PhiloxBlock block =
      Philox({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

CounterRandom::CounterRandom(uint64_t seed, uint64_t stream, uint32_t substream)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)},
      counter_{0, substream, static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)} {}

uint32_t CounterRandom::NextUint32() {
  if (used_ == 4) {
    block_ = Philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return block_[static_cast<size_t>(used_++)];
}

double CounterRandom::NextDouble() {
  const uint64_t high = NextUint32() >> 5;
  const uint64_t low = NextUint32() >> 6;
  return static_cast<double>((high << 26) | low) * 0x1p-53;
}

uint32_t CounterRandom::NextBelow(uint32_t bound) {
  // Lemire's multiplication with rejection of the short tail.
  const uint32_t threshold = (0u - bound) % bound;
  while (true) {
    const uint64_t product = static_cast<uint64_t>(NextUint32()) * bound;
    if (static_cast<uint32_t>(product) >= threshold) return static_cast<uint32_t>(product >> 32);
  }
}

double CounterRandom::NextNormal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - NextDouble()));
  return radius * std::cos(2.0 * std::numbers::pi * NextDouble());
}

uint64_t StreamOf(const char* data, uint64_t size) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint64_t i = 0; i < size; ++i) {
    hash = (hash ^ static_cast<unsigned char>(data[i])) * 0x100000001b3u;
  }
  return hash;
}

}  // namespace ds
