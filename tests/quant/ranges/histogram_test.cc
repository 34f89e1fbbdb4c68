// The histogram against one that is made at the end, when the range is known, from all the values.
#include "quant/ranges/histogram.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "gtest/gtest.h"
#include "tests/quant/ranges/calibration_cases.h"
#include "tests/support/sanitized.h"

namespace ds {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kGreatest = std::numeric_limits<float>::max();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

// In double, where every quotient by a power of two is exact.
void ExpectExact(const Histogram& histogram, const std::vector<float>& values) {
  int64_t nans = 0, infinities = 0, zeros = 0, finite = 0;
  double low = kInf, high = -kInf;
  std::map<int64_t, int64_t> positive, negative;
  const double width = histogram.bin_width();
  for (const float value : values) {
    if (std::isnan(value)) {
      ++nans;
    } else if (std::isinf(value)) {
      ++infinities;
    } else {
      ++finite;
      low = std::min(low, double{value});
      high = std::max(high, double{value});
      if (value == 0) {
        ++zeros;
      } else {
        ++(value > 0
               ? positive
               : negative)[static_cast<int64_t>(std::floor(std::fabs(double{value}) / width))];
      }
    }
  }
  EXPECT_EQ(histogram.nans(), nans);
  EXPECT_EQ(histogram.infinities(), infinities);
  EXPECT_EQ(histogram.zeros(), zeros);
  EXPECT_EQ(histogram.count(), finite);
  EXPECT_EQ(histogram.min(), finite == 0 ? 0 : low);
  EXPECT_EQ(histogram.max(), finite == 0 ? 0 : high);
  for (int i = 0; i < Histogram::kBins; ++i) {
    ASSERT_EQ(histogram.positive()[i], positive.contains(i) ? positive[i] : 0) << "bin " << i;
    ASSERT_EQ(histogram.negative()[i], negative.contains(i) ? negative[i] : 0) << "bin " << -i;
  }
  // Counts add up: nothing lies beyond the bins.
  EXPECT_EQ(
      std::accumulate(histogram.positive().begin(), histogram.positive().end(), int64_t{0}) +
          std::accumulate(histogram.negative().begin(), histogram.negative().end(), int64_t{0}) +
          zeros,
      finite);
  if (finite == 0) return;
  // The greatest magnitude is in the outer half, unless bins are already as narrow as they get.
  const double magnitude = std::max(-low, high);
  EXPECT_LT(magnitude / width, Histogram::kBins);
  if (width > 0x1p-126) {
    EXPECT_GE(magnitude / width, Histogram::kBins / 2);
  }
}

bool Same(const Histogram& a, const Histogram& b) {
  return a.count() == b.count() && a.zeros() == b.zeros() && a.nans() == b.nans() &&
         a.infinities() == b.infinities() && a.min() == b.min() && a.max() == b.max() &&
         a.bin_width() == b.bin_width() && a.positive() == b.positive() &&
         a.negative() == b.negative();
}

Histogram Of(const std::vector<float>& values) {
  Histogram histogram;
  histogram.Add(values);
  return histogram;
}

// Sizes over 15 decades, so that bins widen many times.
std::vector<float> Widening(int count) {
  std::vector<float> values = Normal(count);
  for (int i = 0; i < count; ++i)
    values[i] *= static_cast<float>(std::pow(10.0, 15.0 * i / std::max(count, 1) - 7));
  return values;
}

TEST(HistogramTest, CountsAreThoseOfTheFinalWidth) {
  for (const int count : {0, 1, 2, 3, 7, 1021, 1023, 1024, 1025, 4099, 20011}) {
    SCOPED_TRACE(count);
    for (const Sample& sample : Samples(std::max(count, 8))) {
      SCOPED_TRACE(sample.name);
      const std::vector<float> values(sample.values.begin(), sample.values.begin() + count);
      ExpectExact(Of(values), values);
    }
    ExpectExact(Of(Widening(count)), Widening(count));
  }
}

TEST(HistogramTest, NeitherOrderNorSplittingMatters) {
  std::vector<float> values = Widening(9001);
  for (int i = 0; i < 50; ++i) {
    values[i * 100] = 0;
    values[i * 100 + 1] = -0.0f;
    values[i * 100 + 2] = i % 2 ? kNan : -kInf;
  }
  const Histogram all = Of(values);
  ExpectExact(all, values);

  std::vector<float> backwards(values.rbegin(), values.rend());
  EXPECT_TRUE(Same(Of(backwards), all));
  CounterRandom random(3);
  std::vector<float> shuffled = values;
  for (size_t i = shuffled.size() - 1; i > 0; --i)
    std::swap(shuffled[i], shuffled[random.NextBelow(static_cast<uint32_t>(i + 1))]);
  EXPECT_TRUE(Same(Of(shuffled), all));

  Histogram pieces;
  for (size_t begin = 0; begin < values.size();) {
    const size_t count = std::min<size_t>(random.NextBelow(700), values.size() - begin);
    const std::vector<float> piece(values.begin() + begin, values.begin() + begin + count);
    pieces.Add(piece);
    begin += count;
  }
  EXPECT_TRUE(Same(pieces, all));
}

// Every power of two and its neighbours on both sides, from the least denormal to the greatest
// float: bins' edges, and each of them as the value that sets the width.
TEST(HistogramTest, EdgesBelongToTheBinAbove) {
  std::vector<float> all;
  for (int exponent = -149; exponent <= 127; ++exponent) {
    const float edge = std::ldexp(1.0f, exponent);
    for (const float value : {std::nextafter(edge, 0.0f), edge, std::nextafter(edge, kInf)}) {
      for (const float sign : {1.0f, -1.0f}) {
        all.push_back(sign * value);
        ExpectExact(Of({sign * value, edge / 2}), {sign * value, edge / 2});
      }
    }
  }
  ExpectExact(Of(all), all);
}

TEST(HistogramTest, ExtremesAreCounted) {
  const std::vector<float> values = {kGreatest, -kGreatest, kLeast, -kLeast, 0,     -0.0f,
                                     kNan,      -kNan,      kInf,   -kInf,   1e38f, -1.0f};
  ExpectExact(Of(values), values);
  const std::vector<float> denormals = {kLeast, -kLeast, 1e-40f, -1e-39f, 0};
  ExpectExact(Of(denormals), denormals);
  ExpectExact(Of({kNan, kInf}), {kNan, kInf});
  ExpectExact(Of({0, -0.0f, 0}), {0, -0.0f, 0});
  EXPECT_FALSE(std::signbit(Of({-0.0f}).min()));
}

// Every counter of the zeros is used, whatever the place a chunk begins at.
TEST(HistogramTest, ASpikeAtZeroIsExact) {
  for (int count = 0; count < 70; ++count) {
    std::vector<float> values(count);
    if (count > 3) values[3] = 1;
    Histogram histogram;
    for (int i = 0; i < 40; ++i) histogram.Add(values);
    EXPECT_EQ(histogram.zeros(), 40 * (count - (count > 3)));
    EXPECT_EQ(histogram.count(), 40 * count);
  }
}

TEST(HistogramTest, AddTellsTheRangeOfItsCall) {
  Histogram histogram;
  histogram.Add(std::vector<float>{-100, 100});
  const Histogram::Seen seen = histogram.Add(std::vector<float>{kNan, 2, -1, kInf, 0});
  EXPECT_EQ(seen.finite, 3);
  EXPECT_EQ(seen.min, -1);
  EXPECT_EQ(seen.max, 2);
  EXPECT_EQ(histogram.Add(std::vector<float>{kNan}).finite, 0);
  EXPECT_EQ(histogram.Add({}).finite, 0);
  // A range that spans chunks.
  std::vector<float> values(5000, 3);
  values[0] = -7, values[4999] = 9;
  EXPECT_EQ(histogram.Add(values).min, -7);
  EXPECT_EQ(histogram.Add(values).max, 9);
}

// Not a benchmark: a guard against an accident (20 ns a value; it takes about 1 on the machine it
// was written on).
TEST(HistogramTest, IsFast) {
  const std::vector<float> values = Relu(Normal(1 << 20));
  Histogram histogram;
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    histogram.Add(values);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count() / static_cast<double>(values.size()));
  }
  RecordProperty("ns_a_value", std::to_string(best));
  std::printf("%.2f ns a value\n", best);
#ifdef NDEBUG
  if (!kSanitized) {
    EXPECT_LT(best, 20);
  }
#endif
}

}  // namespace
}  // namespace ds
