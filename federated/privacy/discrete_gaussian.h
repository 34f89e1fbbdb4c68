// The discrete Gaussian, drawn exactly (Canonne, Kamath, Steinke 2020, algorithms 1 to 3): every
// probability is a quotient of integers, and the only chance is that of coins and dice.
#pragma once

#include <cstdint>

#include "federated/privacy/random_source.h"

namespace ds::federated {

using Uint128 = unsigned __int128;

// True with probability numerator / denominator, exactly; 0 <= numerator, 0 < denominator < 2^126.
bool Bernoulli(Uint128 numerator, Uint128 denominator, RandomWords& random);
// True with probability exp(-numerator / denominator), exactly; denominator < 2^100.
bool BernoulliExp(Uint128 numerator, Uint128 denominator, RandomWords& random);

class DiscreteGaussian {
 public:
  // Variances are multiples of 1/kFraction.
  static constexpr uint64_t kFraction = 256;
  static constexpr uint64_t kLargest = uint64_t{1} << 50;

  // Of variance `scaled` / kFraction, 1 <= scaled <= kLargest.
  explicit DiscreteGaussian(uint64_t scaled);
  int64_t Draw(RandomWords& random) const;

 private:
  int64_t DrawLaplace(RandomWords& random) const;

  uint64_t scaled_, t_;
  Uint128 denominator_;
};

}  // namespace ds::federated
