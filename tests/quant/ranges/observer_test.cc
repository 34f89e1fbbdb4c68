// What holds for every calibration method: refusals, degenerate and extreme data, what a range says
// of itself; and the methods that compute a range without searching.
#include "quant/ranges/observer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/quant/ranges/calibration_cases.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kGreatest = std::numeric_limits<float>::max();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

constexpr CalibrationMethod kMethods[] = {
    CalibrationMethod::kMinMax, CalibrationMethod::kMovingAverage, CalibrationMethod::kPercentile,
    CalibrationMethod::kMse, CalibrationMethod::kKl};

ActivationStatistics Collected(const std::vector<float>& values) {
  ActivationStatistics statistics;
  statistics.Add(values);
  return statistics;
}

// Every width (or every `step`-th), signed and unsigned, and every method.
void ForAll(const std::function<void(const QuantType&, CalibrationMethod)>& test, int step = 1) {
  for (int bits = 2; bits <= 8; bits += step) {
    for (const bool is_signed : {true, false}) {
      for (const CalibrationMethod method : kMethods) {
        SCOPED_TRACE(std::string(Name(method)) + (is_signed ? " s" : " u") + std::to_string(bits));
        test({.bits = bits, .is_signed = is_signed}, method);
      }
    }
  }
}

TEST(ObserverTest, NothingCollectedIsAFailedPrecondition) {
  ActivationStatistics nothing, empty_batches;
  empty_batches.Add({});
  ForAll([&](const QuantType& type, CalibrationMethod method) {
    for (const ActivationStatistics* statistics : {&nothing, &empty_batches}) {
      const auto range = ChooseRange(*statistics, type, method, {});
      EXPECT_EQ(range.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(range.status().message(), HasSubstr("batch"));
    }
  });
}

TEST(ObserverTest, NanAndInfAreRefusedAndCounted) {
  ActivationStatistics statistics = Collected({1, kNan, 2, kInf, -kInf, 3});
  statistics.Add(std::vector<float>{kNan, 4});
  const ActivationStatistics only_nan = Collected({kNan});
  ForAll([&](const QuantType& type, CalibrationMethod method) {
    const auto range = ChooseRange(statistics, type, method, {});
    EXPECT_EQ(range.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(range.status().message(), HasSubstr("2 NaN and 2 Inf among 8"));
    EXPECT_THAT(ChooseRange(only_nan, type, method, {}).status().message(),
                HasSubstr("1 NaN and 0 Inf among 1"));
  });
}

TEST(ObserverTest, OptionsOutOfRangeAreNamed) {
  const auto statistics = Collected({1, 2});
  for (const double percentile : {50.0, 0.0, -1.0, 100.1, double{kNan}, double{kInf}}) {
    const auto status =
        ChooseRange(statistics, {}, CalibrationMethod::kPercentile, {.percentile = percentile})
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << percentile;
    EXPECT_THAT(status.message(), HasSubstr("percentile"));
  }
  for (const int bits : {1, 9}) {
    EXPECT_THAT(
        ChooseRange(statistics, {.bits = bits}, CalibrationMethod::kKl, {}).status().message(),
        HasSubstr("bits"));
  }
}

TEST(ObserverTest, NamesComeBack) {
  for (const CalibrationMethod method : kMethods)
    EXPECT_EQ(*CalibrationMethodFromName(Name(method)), method);
  EXPECT_THAT(CalibrationMethodFromName("entropy").status().message(), HasSubstr("kl"));
}

TEST(ObserverTest, AllZerosNeedNoRange) {
  for (const auto& values :
       {std::vector<float>{0}, std::vector<float>{0, -0.0f, 0}, std::vector<float>(5000)}) {
    const auto statistics = Collected(values);
    EXPECT_EQ(statistics.MeanSquare(), 0);
    ForAll([&](const QuantType& type, CalibrationMethod method) {
      const ClipRange range = *ChooseRange(statistics, type, method, {});
      EXPECT_EQ(range.low, 0);
      EXPECT_EQ(range.high, 0);
      EXPECT_EQ(range.squared_error, 0);
      EXPECT_EQ(range.clipped_share, 0);
      EXPECT_EQ(ParamsForRange(type, range.low, range.high)->scales[0], 1);
    });
  }
}

// One value, or many of the same: the range ends there and the value survives.
TEST(ObserverTest, ConstantsAreKept) {
  for (const float constant : {1.0f, -1.0f, 0.3f, 2.0f, -7e-5f, 1e-30f, 1e30f, 3e38f, -3e38f}) {
    for (const int count : {1, 2, 1031}) {
      SCOPED_TRACE(constant);
      const auto statistics = Collected(std::vector<float>(count, constant));
      EXPECT_NEAR(statistics.MeanSquare(), double{constant} * constant,
                  1e-12 * constant * constant);
      ForAll([&](const QuantType& type, CalibrationMethod method) {
        const ClipRange range = *ChooseRange(statistics, type, method, {});
        EXPECT_EQ(range.high, type.is_signed ? std::fabs(constant) : std::max(constant, 0.0f));
        EXPECT_EQ(range.low, type.is_signed ? -range.high : std::min(constant, 0.0f));
        EXPECT_EQ(range.clipped_share, 0);
        std::vector<float> back(1);
        const auto params = *ParamsForRange(type, range.low, range.high);
        FakeQuantize({constant}, {1}, params, absl::MakeSpan(back));
        // Near the greatest float scales shrink (affine.h).
        const double tolerance = std::fabs(constant) > 1e38 && type.is_signed ? 0.51 : 1e-6;
        EXPECT_NEAR(back[0], constant, tolerance * std::fabs(constant));
        const double error = double{back[0]} - constant;
        EXPECT_NEAR(range.squared_error, error * error, 1e-6 * constant * constant);
      });
    }
  }
}

// Whatever the data: finite, zero inside, usable, and honest about clipping.
TEST(ObserverTest, AdversarialDataGivesUsableRanges) {
  std::vector<Sample> samples = Samples(5000);
  samples.push_back({"two values", {-1, 2}});
  samples.push_back({"one value beside zeros", {0, 0, 0, 5}});
  samples.push_back({"one denormal", {kLeast}});
  samples.push_back({"denormals", {kLeast, -kLeast, 3 * kLeast, 1e-40f, 0}});
  samples.push_back({"denormals one-sided", {1e-40f, 2e-40f, 3e-39f}});
  samples.push_back({"huge", {1e38f, -1e38f, 5e37f, 1}});
  samples.push_back({"greatest", {kGreatest, -kGreatest, 0, 1}});
  samples.push_back({"greatest one-sided", {kGreatest, kGreatest / 2, 1}});
  samples.push_back({"greatest beside least", {kGreatest, kLeast, -kLeast}});
  samples.push_back({"neighbours", {1, std::nextafter(1.0f, 2.0f)}});
  samples.push_back({"neighbours of a bin's edge", {-2, std::nextafter(-2.0f, 0.0f)}});
  samples.push_back({"narrow, far from zero", Uniform(3000, 1000, 1000.01)});
  std::vector<float> spike(100000);
  for (int i = 0; i < 37; ++i) spike[i * 2000] = 0.1f * static_cast<float>(i % 7 + 1);
  samples.push_back({"spike at zero", spike});
  samples.push_back({"one outlier of 1e30", WithOutliers(Normal(5000), 5000, 1e30f)});
  std::vector<float> clamped = Relu(Normal(5000, 4));
  for (float& value : clamped) value = std::min(value, 6.0f);
  samples.push_back({"relu6", clamped});
  std::vector<float> pixels = Uniform(5000, 0, 256);
  for (float& value : pixels) value = std::floor(value) / 255;
  samples.push_back({"pixels", pixels});

  for (const Sample& sample : samples) {
    const auto statistics = Collected(sample.values);
    const float least = *std::min_element(sample.values.begin(), sample.values.end());
    const float greatest = *std::max_element(sample.values.begin(), sample.values.end());
    ForAll(
        [&](const QuantType& type, CalibrationMethod method) {
          SCOPED_TRACE(sample.name);
          const auto chosen = ChooseRange(statistics, type, method, {});
          ASSERT_TRUE(chosen.ok()) << chosen.status();
          const ClipRange& range = *chosen;
          EXPECT_TRUE(std::isfinite(range.low) && std::isfinite(range.high));
          EXPECT_LE(range.low, 0);
          EXPECT_GE(range.high, 0);
          EXPECT_LT(range.low, range.high);
          if (type.is_signed) {
            EXPECT_EQ(range.low, -range.high);
          }
          EXPECT_GE(range.squared_error, 0);
          EXPECT_TRUE(std::isfinite(range.squared_error));
          EXPECT_GE(range.clipped_share, 0);
          EXPECT_LE(range.clipped_share, 1);
          // Never wider than the data.
          EXPECT_LE(range.high,
                    type.is_signed ? std::max(-least, greatest) : std::max(greatest, 0.0f));
          EXPECT_GE(range.low, type.is_signed ? -range.high : std::min(least, 0.0f));
          const auto params = ParamsForRange(type, range.low, range.high);
          ASSERT_TRUE(params.ok());
          std::vector<float> zero = {0}, back(1);
          FakeQuantize(zero, {1}, *params, absl::MakeSpan(back));
          EXPECT_EQ(back[0], 0);

          const ClipRange whole = *ChooseRange(statistics, type, CalibrationMethod::kMinMax, {});
          if (method == CalibrationMethod::kMinMax) {
            EXPECT_EQ(range.clipped_share, 0);
          }
          if (method == CalibrationMethod::kMse) {
            EXPECT_LE(range.squared_error, whole.squared_error);
          }
          // What a range says it clips, counted on the samples: to within the values of two bins.
          int64_t outside = 0, near = 0;
          const double width = statistics.histogram().bin_width();
          for (const float value : sample.values) {
            outside += value < range.low || value > range.high;
            near += std::fabs(double{value} - range.low) <= width ||
                    std::fabs(double{value} - range.high) <= width;
          }
          const auto count = static_cast<double>(sample.values.size());
          EXPECT_NEAR(range.clipped_share * count, outside, near + 1e-6);
        },
        3);
  }
}

// No other method beats MSE at its own measure by more than the fineness of its grid.
TEST(ObserverTest, MseHasTheLeastError) {
  for (const Sample& sample : Samples(20000)) {
    const auto statistics = Collected(sample.values);
    for (const int bits : {2, 3, 4, 8}) {
      for (const bool is_signed : {true, false}) {
        const QuantType type = {.bits = bits, .is_signed = is_signed};
        const ClipRange mse = *ChooseRange(statistics, type, CalibrationMethod::kMse, {});
        for (const CalibrationMethod method : kMethods) {
          const ClipRange other = *ChooseRange(statistics, type, method, {});
          EXPECT_LE(mse.squared_error, 1.01 * other.squared_error)
              << sample.name << " " << Name(method) << (is_signed ? " s" : " u") << bits;
        }
      }
    }
  }
}

TEST(ObserverTest, MinMaxIsExact) {
  const auto statistics = Collected({0.1f, -0.3f, 0.7f});
  const ClipRange u =
      *ChooseRange(statistics, {.is_signed = false}, CalibrationMethod::kMinMax, {});
  EXPECT_EQ(u.low, -0.3f);
  EXPECT_EQ(u.high, 0.7f);
  const ClipRange s = *ChooseRange(statistics, {}, CalibrationMethod::kMinMax, {});
  EXPECT_EQ(s.low, -0.7f);
  EXPECT_EQ(s.high, 0.7f);
  const auto above = Collected({2, 3});
  EXPECT_EQ(ChooseRange(above, {.is_signed = false}, CalibrationMethod::kMinMax, {})->low, 0);
}

// Against sorted samples. The histogram knows a value to within its bin.
TEST(ObserverTest, PercentilesAreThoseOfTheValuesOtherThanZero) {
  for (const Sample& sample : Samples(20011)) {
    const auto statistics = Collected(sample.values);
    const double width = statistics.histogram().bin_width();
    std::vector<double> sorted, magnitudes;
    for (const float value : sample.values) {
      if (value == 0) continue;
      sorted.push_back(value);
      magnitudes.push_back(std::fabs(value));
    }
    std::sort(sorted.begin(), sorted.end());
    std::sort(magnitudes.begin(), magnitudes.end());
    // The values between which a share of the sorted ones lie below.
    const auto expect_quantile = [&](double value, const std::vector<double>& of, double share) {
      const double place = share * static_cast<double>(of.size());
      const auto at = [&](double i) {
        return of[static_cast<size_t>(std::clamp(i, 0.0, static_cast<double>(of.size() - 1)))];
      };
      EXPECT_GE(value, at(std::floor(place) - 1) - width) << share;
      EXPECT_LE(value, at(std::ceil(place)) + width) << share;
    };
    for (const double percentile : {90.0, 99.0, 99.9, 99.99, 100.0}) {
      SCOPED_TRACE(sample.name + " " + std::to_string(percentile));
      const double share = percentile / 100, rest = 1 - share;
      const auto range = [&](bool is_signed) {
        return *ChooseRange(statistics, {.is_signed = is_signed}, CalibrationMethod::kPercentile,
                            {.percentile = percentile});
      };
      expect_quantile(range(true).high, magnitudes, share);
      const ClipRange u = range(false);
      if (sorted.front() < 0 && sorted.back() > 0) {
        expect_quantile(u.low, sorted, rest / 2);
        expect_quantile(u.high, sorted, 1 - rest / 2);
      } else if (sorted.back() > 0) {
        EXPECT_EQ(u.low, 0);
        expect_quantile(u.high, sorted, share);
      } else {
        EXPECT_EQ(u.high, 0);
        expect_quantile(u.low, sorted, rest);
      }
      const double nonzero =
          static_cast<double>(sorted.size()) / static_cast<double>(sample.values.size());
      // The ends are rounded to float.
      EXPECT_NEAR(u.clipped_share, rest * nonzero, 1e-6);
    }
  }
}

TEST(ObserverTest, ASpikeAtZeroDoesNotCollapseThePercentile) {
  std::vector<float> values(100000);
  values[7] = 3, values[8] = 4;
  for (const bool is_signed : {true, false}) {
    EXPECT_GE(ChooseRange(Collected(values), {.is_signed = is_signed},
                          CalibrationMethod::kPercentile, {.percentile = 99})
                  ->high,
              3);
  }
}

TEST(ObserverTest, TheMovingAverageWeighsTheLatestMost) {
  for (const double decay : {0.0, 0.5, 0.9}) {
    ActivationStatistics statistics(decay);
    double low = 0, high = 0, weights = 0;
    const int batches = 7;
    for (int t = 1; t <= batches; ++t) {
      statistics.Add(std::vector<float>{-1.0f * t, 0.5f, 3.0f + t * t});
      const double weight = std::pow(decay, batches - t);
      low += weight * -t;
      high += weight * (3 + t * t);
      weights += weight;
    }
    statistics.Add({});  // changes nothing
    EXPECT_EQ(statistics.batches(), batches);
    EXPECT_NEAR(statistics.moving_min(), low / weights, 1e-5);
    EXPECT_NEAR(statistics.moving_max(), high / weights, 1e-5);
    const ClipRange range =
        *ChooseRange(statistics, {.is_signed = false}, CalibrationMethod::kMovingAverage, {});
    EXPECT_EQ(range.low, statistics.moving_min());
    EXPECT_EQ(range.high, statistics.moving_max());
  }
  // All batches alike: their range, from the first on.
  ActivationStatistics alike;
  for (int i = 0; i < 3; ++i) {
    alike.Add(std::vector<float>{-2, 5});
    EXPECT_FLOAT_EQ(alike.moving_min(), -2);
    EXPECT_FLOAT_EQ(alike.moving_max(), 5);
  }
}

TEST(ObserverTest, TheMeanSquareIsThatOfTheSamples) {
  for (const Sample& sample : Samples(20000)) {
    double sum = 0;
    for (const float value : sample.values) sum += double{value} * value;
    EXPECT_NEAR(Collected(sample.values).MeanSquare(), sum / 20000, 1e-4 * sum / 20000)
        << sample.name;
  }
}

// A swish has many values just above its least one: to leave a hair of them out is no loss, to
// leave out the few that are far away is.
TEST(ObserverTest, WhatRoundingWouldHaveMovedAsFarIsNotLost) {
  const QuantType type = {.bits = 8, .is_signed = false};
  const CalibrationOptions options = {.percentile = 95};
  std::vector<float> values;
  for (int i = 0; i < 1000; ++i) values.push_back(-0.2785f + 1e-6f * static_cast<float>(i));
  for (int i = 0; i < 1000; ++i) values.push_back(4.0f);
  const auto hair = ChooseRange(Collected(values), type, CalibrationMethod::kPercentile, options);
  ASSERT_TRUE(hair.ok()) << hair.status();
  EXPECT_GT(hair->clipped_share, 0.01);
  EXPECT_EQ(hair->lost_share, 0);

  for (int i = 0; i < 20; ++i) values.push_back(40.0f);
  const auto tail = ChooseRange(Collected(values), type, CalibrationMethod::kPercentile, options);
  ASSERT_TRUE(tail.ok()) << tail.status();
  EXPECT_NEAR(tail->lost_share, 20.0 / 2020, 1e-4);
}

}  // namespace
}  // namespace ds
