// How much noise, in how many bits.
#include "federated/privacy/noise.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/privacy/seeded_source.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

NoiseRequest Request(const std::string& mechanism) {
  NoiseRequest request;
  request.mechanism = mechanism;
  request.noise_multiplier = 2;
  request.sensitivity = 50;
  request.minimum_sites = 5;
  request.maximum_sites = 8;
  return request;
}

TEST(PlanNoise, TheMinimumOfSitesMakesTheWholeNoise) {
  for (const char* mechanism : {"discrete_gaussian", "skellam"}) {
    const NoisePlan plan = *PlanNoise(Request(mechanism));
    EXPECT_NEAR(plan.variance, 100.0 * 100 / 5, 0.01) << mechanism;
    EXPECT_GE(plan.variance, 100.0 * 100 / 5);
    // Eight sites' noise has 126 levels of standard deviation.
    EXPECT_GT(plan.bound, 9 * 126);
    EXPECT_LT(plan.bound, 12 * 126);
  }
  const NoisePlan central = *PlanNoise(Request("central"));
  EXPECT_NEAR(central.variance, 100.0 * 100, 0.01);
  EXPECT_LT(central.bound, 12 * 100);
}

TEST(PlanNoise, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(PlanNoise(Request("none")).ok());
  auto request = Request("skellam");
  request.noise_multiplier = 0;
  EXPECT_FALSE(PlanNoise(request).ok());
  request = Request("skellam");
  request.sensitivity = std::nan("");
  EXPECT_FALSE(PlanNoise(request).ok());
  request = Request("skellam");
  request.minimum_sites = 9;
  EXPECT_THAT(std::string(PlanNoise(request).status().message()), HasSubstr("at least 9 sites"));
  request = Request("discrete_gaussian");
  request.sensitivity = 1e6;
  EXPECT_THAT(std::string(PlanNoise(request).status().message()), HasSubstr("2^24"));
  NoisePlan plan;
  EXPECT_FALSE(NoiseSampler::Create(plan, SeededSource(1)).ok());
  plan.mechanism = "skellam";
  EXPECT_FALSE(NoiseSampler::Create(plan, SeededSource(1)).ok()) << "of no variance";
  plan.variance = 1;
  EXPECT_FALSE(NoiseSampler::Create(plan, nullptr).ok());
}

TEST(NoisyModulus, TellsEverySumFromEveryOther) {
  for (const int64_t largest : {0, 1, 15, 240, 4096 * 15}) {
    for (const int64_t bound : {0, 1, 7, 8, 1000}) {
      const int bits = NoisyModulusBits(largest, bound);
      const int64_t modulus = int64_t{1} << bits;
      EXPECT_GT(modulus, largest + 2 * bound);
      EXPECT_TRUE(bits == 1 || modulus / 2 <= largest + 2 * bound);
      for (const int64_t sum : {-bound, -bound / 2, int64_t{0}, largest, largest + bound})
        EXPECT_EQ(UnwrapNoisySum(static_cast<uint32_t>((sum + modulus) % modulus), bits, bound),
                  sum)
            << largest << " " << bound;
    }
  }
}

// Stochastic rounding of vectors of the clipped norm: within the bound at least as often as beta
// says, and not by so wide a margin that the bound would say nothing.
TEST(RoundedNorm, HoldsForRoundedVectors) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  for (const int dimension : {1, 16, 1000}) {
    for (const double norm : {0.0, 3.0, 100.0}) {
      const double bound = RoundedNorm(norm, dimension);
      int within = 0;
      double most = 0;
      constexpr int kTries = 300;
      for (int i = 0; i < kTries; ++i) {
        std::vector<double> values(dimension);
        double square = 0, rounded = 0;
        for (double& value : values) {
          value = normal(random);
          square += value * value;
        }
        for (double& value : values) {
          value *= norm / std::sqrt(square);
          const double whole = std::floor(value + uniform(random));
          rounded += whole * whole;
        }
        most = std::max(most, std::sqrt(rounded));
        within += std::sqrt(rounded) <= bound ? 1 : 0;
      }
      EXPECT_GE(within, kTries * 4 / 10) << dimension << " " << norm;
      EXPECT_LE(bound, norm + std::sqrt(dimension) + 1e-9);
      if (dimension == 1000 && norm == 100) {
        EXPECT_LT(bound, 1.02 * most);
      }
    }
  }
  EXPECT_DOUBLE_EQ(LargestL1(3, 100), 9);
  EXPECT_DOUBLE_EQ(LargestL1(30, 100), 300);
}

}  // namespace
}  // namespace ds::federated
