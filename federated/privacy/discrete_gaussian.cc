#include "federated/privacy/discrete_gaussian.h"

#include <cmath>

#include "base/check.h"

namespace ds::federated {
namespace {

// Far above the rounding error of a quotient of doubles.
constexpr double kMargin = 0x1p-45;

// Is the number whose binary digits are the random words to come less than numerator/denominator?
// Its first 32 digits are `first`.
bool LessByDigits(Uint128 numerator, Uint128 denominator, uint32_t first, RandomWords& random) {
  uint32_t word = first;
  while (true) {
    uint32_t digits = 0;
    for (int i = 0; i < 32; ++i) {
      numerator <<= 1;
      const bool one = numerator >= denominator;
      if (one) numerator -= denominator;
      digits = digits << 1 | static_cast<uint32_t>(one);
    }
    if (word != digits) return word < digits;
    word = random.Next32();
  }
}

}  // namespace

// Almost always 32 random digits and doubles decide; where they are too close to tell, integers do.
bool Bernoulli(Uint128 numerator, Uint128 denominator, RandomWords& random) {
  if (numerator >= denominator) return true;
  if (numerator == 0) return false;
  const uint32_t word = random.Next32();
  const double chance = static_cast<double>(numerator) / static_cast<double>(denominator);
  const double at_least = word * 0x1p-32;
  if (at_least + 0x1p-32 <= chance - kMargin) return true;
  if (at_least >= chance + kMargin) return false;
  return LessByDigits(numerator, denominator, word, random);
}

bool BernoulliExp(Uint128 numerator, Uint128 denominator, RandomWords& random) {
  for (; numerator > denominator; numerator -= denominator)
    if (!BernoulliExp(1, 1, random)) return false;
  uint64_t k = 1;
  while (Bernoulli(numerator, denominator * k, random)) ++k;
  return k % 2 == 1;
}

DiscreteGaussian::DiscreteGaussian(uint64_t scaled) : scaled_(scaled) {
  DS_CHECK(scaled >= 1 && scaled <= kLargest) << scaled;
  // Any t >= 1 draws the same distribution; this one seldom draws twice.
  t_ = static_cast<uint64_t>(std::sqrt(static_cast<double>(scaled) / kFraction)) + 1;
  denominator_ = Uint128{2} * scaled_ * kFraction * t_ * t_;
}

int64_t DiscreteGaussian::DrawLaplace(RandomWords& random) const {
  while (true) {
    const uint64_t u = random.NextBelow(t_);
    if (!BernoulliExp(u, t_, random)) continue;
    uint64_t v = 0;
    while (BernoulliExp(1, 1, random)) ++v;
    const auto size = static_cast<int64_t>(u + t_ * v);
    const bool negative = random.NextBit();
    if (negative && size == 0) continue;
    return negative ? -size : size;
  }
}

int64_t DiscreteGaussian::Draw(RandomWords& random) const {
  while (true) {
    const int64_t drawn = DrawLaplace(random);
    // (|y| - variance / t)² / (2 variance), as a quotient of integers.
    const Uint128 at = Uint128{static_cast<uint64_t>(std::abs(drawn))} * kFraction * t_;
    const Uint128 away = at > scaled_ ? at - scaled_ : scaled_ - at;
    if (BernoulliExp(away * away, denominator_, random)) return drawn;
  }
}

}  // namespace ds::federated
