// Goodness of fit: what is drawn has the distribution that it should, by chi-square against
// probabilities computed apart, in doubles.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "federated/privacy/discrete_gaussian.h"
#include "federated/privacy/noise.h"
#include "federated/privacy/poisson.h"
#include "gtest/gtest.h"
#include "tests/federated/privacy/seeded_source.h"

namespace ds::federated {
namespace {

constexpr uint64_t kSeed = 20260713;

using Chances = std::map<int64_t, double>;

Chances GaussianChances(double variance) {
  Chances chances;
  const auto reach = static_cast<int64_t>(12 * std::sqrt(variance)) + 12;
  double sum = 0;
  for (int64_t x = -reach; x <= reach; ++x)
    sum += chances[x] = std::exp(-static_cast<double>(x * x) / (2 * variance));
  for (auto& [x, chance] : chances) chance /= sum;
  return chances;
}

Chances PoissonChances(double mean) {
  Chances chances;
  const auto reach = static_cast<int64_t>(mean + 12 * std::sqrt(mean)) + 30;
  for (int64_t k = 0; k <= reach; ++k)
    chances[k] = std::exp(k * std::log(mean) - mean - std::lgamma(k + 1.0));
  return chances;
}

Chances SkellamChances(double variance) {
  const Chances poisson = PoissonChances(variance / 2);
  Chances chances;
  for (const auto& [a, chance_a] : poisson)
    for (const auto& [b, chance_b] : poisson) chances[a - b] += chance_a * chance_b;
  return chances;
}

// The statistic less its mean, in standard deviations; cells of few draws are put together.
double ChiSquareDeviations(const std::vector<int64_t>& drawn, const Chances& chances) {
  constexpr double kLeast = 20;
  std::map<int64_t, int64_t> counts;
  for (const int64_t value : drawn) ++counts[value];
  const auto total = static_cast<double>(drawn.size());
  double statistic = 0, expected = 0, observed = 0;
  int cells = 0;
  const auto close = [&] {
    if (expected <= 0) return;
    statistic += (observed - expected) * (observed - expected) / expected;
    ++cells;
    expected = observed = 0;
  };
  for (const auto& [value, chance] : chances) {
    expected += chance * total;
    if (const auto found = counts.find(value); found != counts.end()) {
      observed += static_cast<double>(found->second);
      counts.erase(found);
    }
    if (expected >= kLeast) close();
  }
  // The rest of one tail, and what has no chance at all.
  for (const auto& [value, count] : counts) observed += static_cast<double>(count);
  if (expected < 1) expected = 1;
  close();
  return (statistic - (cells - 1)) / std::sqrt(2.0 * (cells - 1));
}

template <typename Draw>
std::vector<int64_t> Drawn(int count, Draw draw) {
  std::vector<int64_t> values;
  for (int i = 0; i < count; ++i) values.push_back(draw());
  return values;
}

// Five standard deviations: a right sampler fails once in about a million.
constexpr double kMostDeviations = 5;

TEST(DiscreteGaussian, FitsItsDistribution) {
  std::printf("seed %llu\n", static_cast<unsigned long long>(kSeed));
  for (const uint64_t scaled : {1u, 64u, 256u, 700u, 256u * 10, 256u * 1000}) {
    const DiscreteGaussian gaussian(scaled);
    RandomWords random(SeededSource(kSeed + scaled));
    const auto drawn = Drawn(200000, [&] { return gaussian.Draw(random); });
    EXPECT_LT(ChiSquareDeviations(drawn, GaussianChances(scaled / 256.0)), kMostDeviations)
        << scaled;
  }
}

TEST(Poisson, FitsItsDistribution) {
  for (const double mean : {0.01, 0.5, 1.0, 7.3, 100.0, 5000.0}) {
    const Poisson poisson(static_cast<uint64_t>(mean * Poisson::kFraction));
    RandomWords random(SeededSource(kSeed));
    const auto drawn = Drawn(200000, [&] { return poisson.Draw(random); });
    EXPECT_LT(ChiSquareDeviations(drawn, PoissonChances(mean)), kMostDeviations) << mean;
  }
}

// As sites draw it; the sum of their shares, too.
TEST(NoiseSampler, FitsItsMechanism) {
  for (const char* mechanism : {"discrete_gaussian", "central", "skellam"}) {
    for (const double variance : {0.25, 3.0, 400.0}) {
      NoisePlan plan;
      plan.mechanism = mechanism;
      plan.variance = variance;
      auto sampler = *NoiseSampler::Create(plan, SeededSource(kSeed));
      std::vector<int32_t> values(150000);
      sampler->Fill(absl::MakeSpan(values));
      const Chances chances =
          plan.mechanism == "skellam" ? SkellamChances(variance) : GaussianChances(variance);
      EXPECT_LT(ChiSquareDeviations({values.begin(), values.end()}, chances), kMostDeviations)
          << mechanism << " " << variance;
    }
  }
}

TEST(NoiseSampler, SharesOfSkellamNoiseAddUpToSkellamNoise) {
  NoisePlan share;
  share.mechanism = "skellam";
  share.variance = 2.5;
  std::vector<int64_t> sums(100000);
  for (uint64_t site = 0; site < 4; ++site) {
    auto sampler = *NoiseSampler::Create(share, SeededSource(kSeed + site));
    std::vector<int32_t> values(sums.size());
    sampler->Fill(absl::MakeSpan(values));
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += values[i];
  }
  EXPECT_LT(ChiSquareDeviations(sums, SkellamChances(10)), kMostDeviations);
}

// The test itself sees a variance that is 3% off, and a mean that is off by a tenth.
TEST(ChiSquare, SeesWhatIsNotRight) {
  const DiscreteGaussian gaussian(2560);
  RandomWords random(SeededSource(kSeed));
  const auto drawn = Drawn(200000, [&] { return gaussian.Draw(random); });
  EXPECT_GT(ChiSquareDeviations(drawn, GaussianChances(10.3)), kMostDeviations);
  auto shifted = drawn;
  for (size_t i = 0; i < shifted.size(); i += 10) ++shifted[i];
  EXPECT_GT(ChiSquareDeviations(shifted, GaussianChances(10)), kMostDeviations);
}

// Where 32 digits do not decide, integers do: a chance of 2^-40 comes out as it should.
TEST(Bernoulli, IsExactBeyondTheFirstDigits) {
  const Uint128 denominator = Uint128{1} << 40;
  // All digits 0, then all digits 1: the number is the least there is, then beyond the chance.
  uint8_t fill = 0;
  RandomWords zeros(
      [&](absl::Span<std::byte> out) { std::fill(out.begin(), out.end(), std::byte{fill}); });
  EXPECT_TRUE(Bernoulli(1, denominator, zeros));
  fill = 0xff;
  RandomWords ones(
      [&](absl::Span<std::byte> out) { std::fill(out.begin(), out.end(), std::byte{fill}); });
  EXPECT_FALSE(Bernoulli(1, denominator, ones));
  EXPECT_FALSE(Bernoulli(denominator - 1, denominator, ones));
  // First 32 digits as those of the chance, then above or below it.
  for (const uint32_t second : {0u, 0xffffffffu}) {
    std::vector<uint32_t> words = {0x55555555u, second};
    RandomWords third([&](absl::Span<std::byte> out) {
      std::memset(out.data(), 0x55, out.size());
      std::memcpy(out.data(), words.data(), 8);
    });
    EXPECT_EQ(Bernoulli(1, 3, third), second == 0);
  }
  EXPECT_TRUE(Bernoulli(3, 3, ones));
  EXPECT_FALSE(Bernoulli(0, 3, zeros));
}

TEST(RandomWords, NumbersBelowALimitAreAllAlike) {
  RandomWords random(SeededSource(kSeed));
  for (const uint64_t below : {1u, 2u, 3u, 7u, 10u}) {
    Chances chances;
    for (uint64_t i = 0; i < below; ++i) chances[static_cast<int64_t>(i)] = 1.0 / below;
    const auto drawn = Drawn(50000, [&] { return static_cast<int64_t>(random.NextBelow(below)); });
    if (below == 1) {
      EXPECT_EQ(*std::max_element(drawn.begin(), drawn.end()), 0);
    } else {
      EXPECT_LT(ChiSquareDeviations(drawn, chances), kMostDeviations) << below;
    }
  }
}

}  // namespace
}  // namespace ds::federated
