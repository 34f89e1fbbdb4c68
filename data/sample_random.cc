#include "data/sample_random.h"

#include <cmath>

#include "base/check.h"

namespace ds {
namespace {

constexpr int kPurposeShift = 24;  // within the counter's second word

}  // namespace

SampleRandom::SampleRandom(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {
  DS_CHECK(a >> 32 == 0 && b >> 40 == 0) << a << " " << b;
  // Word 0 counts blocks; the high byte of word 1 is the purpose, its low byte the top of b.
  counter_ = {0, static_cast<uint32_t>(purpose) << kPurposeShift | static_cast<uint32_t>(b >> 32),
              static_cast<uint32_t>(b), static_cast<uint32_t>(a)};
}

void SampleRandom::Refill() {
  block_ = Philox4x32(counter_, key_);
  ++counter_[0];
  used_ = 0;
}

double Uniform(SampleRandom& random) { return (random.Next32() + 0.5) * 0x1p-32; }

double Normal(SampleRandom& random) {
  const double radius = std::sqrt(-2 * std::log(Uniform(random)));
  return radius * std::cos(2 * M_PI * Uniform(random));
}

double LogGamma(double shape, SampleRandom& random) {
  const double boost = shape < 1 ? std::log(Uniform(random)) / shape : 0;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal(random);
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (std::log(Uniform(random)) < x * x / 2 + d - d * v + d * std::log(v))
      return boost + std::log(d * v);
  }
}

double SymmetricBeta(double shape, SampleRandom& random) {
  const double one = LogGamma(shape, random), other = LogGamma(shape, random);
  return 1 / (1 + std::exp(other - one));
}

}  // namespace ds
