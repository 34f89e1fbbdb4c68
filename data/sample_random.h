// Random numbers that are a pure function of what they are for: a stream keyed by (seed, purpose,
// a, b), say (seed, augmentation, epoch, sample), gives the same numbers whichever thread or rank
// asks, in any order. The generator is base/random.h's Philox; this adds the layout of the counter
// and 64-bit bounds.
#pragma once

#include <array>
#include <cstdint>

#include "base/random.h"

namespace ds {

// What a stream is for, so that no two uses share numbers.
enum class RandomPurpose : uint32_t {
  kShuffle = 1,
  kAugment = 2,
  kPattern = 3,
  kTrain = 4,
  kTest = 5,
  kPartition = 6,
  kResizedCrop = 7,
  kColor = 8,
  kRandAugment = 9,
  kMix = 10
};

class SampleRandom {
 public:
  // `a` below 2^32, `b` below 2^40: together with the purpose they fill the counter; the key is the
  // seed.
  SampleRandom(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b);

  uint32_t Next32() {
    if (used_ == 4) Refill();
    return block_[used_++];
  }
  // Uniform in [0, n), n >= 1, by multiplication: off by less than n / 2^64.
  uint64_t Below(uint64_t n) {
    const uint64_t high = Next32();
    const uint64_t bits = high << 32 | Next32();
    return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * n) >> 64);
  }
  // 16 fresh bytes.
  std::array<uint32_t, 4> NextBlock() {
    Refill();
    used_ = 4;
    return block_;
  }

 private:
  void Refill();

  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_ = {};
  uint32_t used_ = 4;
};

// Above 0 and below 1.
double Uniform(SampleRandom& random);
// Standard normal (Box and Muller).
double Normal(SampleRandom& random);
// Logarithm of a Gamma(shape, 1) variate, which a small shape would make 0. Marsaglia and Tsang
// 2000, with their section 6 for shapes below 1.
double LogGamma(double shape, SampleRandom& random);
// A Beta(shape, shape) variate, in [0, 1].
double SymmetricBeta(double shape, SampleRandom& random);

}  // namespace ds
