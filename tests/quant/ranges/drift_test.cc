#include "quant/ranges/drift.h"

#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ds {
namespace {

Histogram Of(const std::vector<float>& values) {
  Histogram histogram;
  histogram.Add(values);
  return histogram;
}

std::vector<float> Normal(int count, double mean, double stddev, uint32_t seed, bool relu = false) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> normal(mean, stddev);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = static_cast<float>(normal(rng));
    if (relu) value = std::max(0.0f, value);
  }
  return values;
}

// Two groups, zeros and ones, whose shares are known: (q - p) ln(q / p) by hand.
TEST(Drift, OfTwoValuesIsTheFormula) {
  std::vector<float> before(1000, 0.0f), after(2000, 0.0f);
  for (int i = 0; i < 300; ++i) before[static_cast<size_t>(i)] = 1;
  for (int i = 0; i < 1200; ++i) after[static_cast<size_t>(i)] = 1;
  const double p = 300.5 / 1001, q = 1200.5 / 2001;
  const double expected =
      (q - p) * std::log(q / p) + ((1 - q) - (1 - p)) * std::log((1 - q) / (1 - p));
  EXPECT_NEAR(MeasureDrift(Of(before), Of(after)).stability_index, expected, 1e-12);
}

// Equal-probability groups of N(0, 1) and the shares of N(m, 1) in them, both in closed form by
// erf.
TEST(Drift, OfAShiftedNormalIsTheIntegral) {
  constexpr double kDeciles[] = {-1.2815515655, -0.8416212336, -0.5244005127, -0.2533471031, 0,
                                 0.2533471031,  0.5244005127,  0.8416212336,  1.2815515655};
  for (const double shift : {0.25, 0.5, 1.0}) {
    double expected = 0, low = 0;
    for (int g = 0; g < 10; ++g) {
      const double high = g == 9 ? 1 : 0.5 * std::erfc(-(kDeciles[g] - shift) / std::sqrt(2.0));
      expected += (high - low - 0.1) * std::log((high - low) / 0.1);
      low = high;
    }
    const Drift drift = MeasureDrift(Of(Normal(400000, 0, 1, 1)), Of(Normal(400000, shift, 1, 2)));
    EXPECT_NEAR(drift.stability_index, expected, 0.04 * expected + 0.001) << shift;
  }
}

TEST(Drift, SamplesOfOneDistributionHaveNone) {
  for (const bool relu : {false, true}) {
    const Drift drift =
        MeasureDrift(Of(Normal(50000, 0.3, 2, 3, relu)), Of(Normal(20000, 0.3, 2, 4, relu)));
    EXPECT_LT(drift.stability_index, 0.01);
    EXPECT_LT(drift.outside_share, 0.0005);
  }
}

// Another scale of the bins on either side, and values where calibration had none.
TEST(Drift, SeesWhatLiesBeyondTheCalibratedRange) {
  std::vector<float> after = Normal(10000, 0, 1, 5);
  for (int i = 0; i < 500; ++i) after[static_cast<size_t>(i)] = 100.0f + static_cast<float>(i);
  for (int i = 500; i < 600; ++i) after[static_cast<size_t>(i)] = -100.0f;
  EXPECT_NEAR(MeasureDrift(Of(Normal(10000, 0, 1, 6)), Of(after)).outside_share, 0.06, 0.001);
  EXPECT_NEAR(MeasureDrift(Of(after), Of(Normal(10000, 0, 1, 6))).outside_share, 0, 1e-9);
  // One sign then, two now.
  EXPECT_NEAR(MeasureDrift(Of({1, 2, 3}), Of({-1, -2, 1, 2})).outside_share, 0.5, 1e-9);
}

TEST(Drift, OfDegenerateDataIsFinite) {
  for (const std::vector<float>& values : {std::vector<float>{}, {0, 0}, {5}, {-1e30f, 1e-30f}}) {
    for (const std::vector<float>& others : {std::vector<float>{}, {0}, {5, 5, 5}, {1e38f}, {-3}}) {
      const Drift drift = MeasureDrift(Of(values), Of(others));
      EXPECT_TRUE(std::isfinite(drift.stability_index) && drift.stability_index >= 0);
      EXPECT_TRUE(drift.outside_share >= 0 && drift.outside_share <= 1);
    }
  }
}

}  // namespace
}  // namespace ds
