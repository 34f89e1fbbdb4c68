// Where noise comes from: bytes that nobody can foresee. A counter-based generator of known seed
// would let whoever knows the seed take the noise off again, so it is for tests only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"

namespace ds::federated {

// Fills its argument with cryptographic random bytes; cannot fail (who has none must not start).
using RandomSource = std::function<void(absl::Span<std::byte>)>;

// The same, word by word. Not thread-safe.
class RandomWords {
 public:
  explicit RandomWords(RandomSource source);

  uint32_t Next32() {
    if (next_ == words_.size()) Refill();
    return words_[next_++];
  }
  uint64_t Next64() {
    const uint64_t high = Next32();
    return high << 32 | Next32();
  }
  bool NextBit() {
    if (bits_left_ == 0) {
      bits_ = Next32();
      bits_left_ = 32;
    }
    const bool bit = (bits_ & 1) != 0;
    bits_ >>= 1;
    --bits_left_;
    return bit;
  }
  // In [0, below), all alike; below >= 1.
  uint64_t NextBelow(uint64_t below);

 private:
  void Refill();

  RandomSource source_;
  std::vector<uint32_t> words_;
  size_t next_;
  uint32_t bits_ = 0;
  int bits_left_ = 0;
};

}  // namespace ds::federated
