// Noise on integers, for differential privacy: how much, in how many bits, and drawn. Units are
// levels, steps of the public grid on which updates are quantised.
//
// Who is protected: a site. Two runs are neighbours if they differ in one site's update, which is
// there in one and is the zero update in the other; so the grid must hold zero, that is, its centre
// is a level and not between two, or the sensitivity is half a level a value more.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/privacy/random_source.h"

namespace ds::federated {

// The most that the L2 norm of an update can be after stochastic rounding, but with probability
// 1 - beta a try: the site rounds again until it is not more (Kairouz, Liu, Steinke 2021, "The
// distributed discrete Gaussian mechanism", proposition 22). `norm`: before rounding, in levels,
// after clipping and rotation (which leave or lessen it); `dimension` >= 1: values that are
// rounded, padding too; 0 < beta < 1.
double RoundedNorm(double norm, int64_t dimension, double beta = 0.60653065971263342);
// The most that the L1 norm of integers can be whose L2 norm is `norm`: no more than its square.
double LargestL1(double norm, int64_t dimension);

struct NoiseRequest {
  std::string mechanism;        // PrivacyOptions': discrete_gaussian | skellam | central
  double noise_multiplier = 0;  // standard deviation of the sum's noise over `sensitivity`, > 0
  double sensitivity = 0;       // L2 of one site's update, RoundedNorm, > 0
  int64_t minimum_sites = 1;    // honest ones whose noise a sum holds at the least
  int64_t maximum_sites = 1;    // that a sum may hold
};

struct NoisePlan {
  std::string mechanism;
  double variance = 0;  // of each value that is drawn: a site's share, or (central) all of it
  // No noise of a sum, nor of a share, is beyond it in size, but with probability < 2^-60 a value.
  int64_t bound = 0;
};

// InvalidArgument for what is out of range, or needs more than 2^24 levels.
absl::StatusOr<NoisePlan> PlanNoise(const NoiseRequest& request);

// Bits m of the modulus in which every sum with its noise, from -bound to largest + bound, is told
// from every other. `largest`: of a sum without noise, maximum_sites * (2^bits - 1).
int NoisyModulusBits(int64_t largest, int64_t bound);
// The sum that is `value` modulo 2^bits; in [-bound, 2^bits - bound).
int64_t UnwrapNoisySum(uint32_t value, int bits, int64_t bound);

// Draws. Not thread-safe.
class NoiseSampler {
 public:
  virtual ~NoiseSampler() = default;
  virtual void Fill(absl::Span<int32_t> out) = 0;

  // discrete_gaussian and central: the discrete Gaussian, exactly, by integer arithmetic alone
  // (Canonne, Kamath, Steinke 2020, "The discrete Gaussian for differential privacy", algorithms 1
  // to 3), of the variance rounded up to a multiple of 2^-8. skellam: the difference of two Poisson
  // draws of variance/2 each, of the variance rounded up to a multiple of 2^-19, from tables of
  // integers: a value is within 2^-85 in total variation of the true one at the widest noise, and
  // closer where it is narrower.
  static absl::StatusOr<std::unique_ptr<NoiseSampler>> Create(const NoisePlan& plan,
                                                              RandomSource source);
};

}  // namespace ds::federated
