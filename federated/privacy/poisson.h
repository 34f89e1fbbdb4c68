// Poisson numbers from a table of integers: weights are products in 128-bit arithmetic, whose
// roundings add up to about sqrt(mean) units of 2^-104 of the mode's weight; a sampler in doubles
// would be off by some 2^50 times as much.
#pragma once

#include <cstdint>
#include <vector>

#include "federated/privacy/random_source.h"

namespace ds::federated {

class Poisson {
 public:
  // Means are multiples of 1/kFraction.
  static constexpr uint64_t kFraction = uint64_t{1} << 20;
  static constexpr uint64_t kLargest = kFraction << 30;  // a table of 14 MB

  // Of mean `scaled` / kFraction, 1 <= scaled <= kLargest.
  explicit Poisson(uint64_t scaled);
  int64_t Draw(RandomWords& random) const;

 private:
  using Uint128 = unsigned __int128;

  int64_t least_ = 0;            // the number that the table begins with
  std::vector<Uint128> up_to_;   // weights of the numbers up to each one
  std::vector<uint32_t> guide_;  // where to look first, by the leading bits
  int bits_ = 0;                 // of the sum of weights
  int guide_bits_ = 0;
};

}  // namespace ds::federated
