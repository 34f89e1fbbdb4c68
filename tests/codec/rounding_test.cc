// Rounding: ties to even; noise without bias, of the variance of a coin, and independent of its
// neighbours.
#include <algorithm>
#include <cmath>
#include <functional>

#include "codec/codec_math.h"
#include "gtest/gtest.h"
#include "tests/codec/cases.h"

namespace ds {
namespace {

TEST(CodecRoundingTest, NearestTakesTiesToEven) {
  for (int bits = 2; bits <= 8; ++bits) {
    // Steps of 1: levels are integers.
    const int side = lowbit::MaxNormSteps(bits), top = lowbit::MinMaxSteps(bits);
    std::vector<float> symmetric = {static_cast<float>(side)},
                       upward = {0.0f, static_cast<float>(top)};
    for (int level = -side; level < side; ++level)
      symmetric.push_back(static_cast<float>(level) + 0.5f);
    for (int level = 0; level < top; ++level) upward.push_back(static_cast<float>(level) + 0.5f);
    const auto expect_even = [&](CodecScale scale, const std::vector<float>& values) {
      const std::vector<float> decoded =
          RoundTrip(*CodecOf({.bits = bits, .bucket = 1024, .scale = scale}), values, {});
      for (size_t i = 0; i < values.size(); ++i)
        EXPECT_EQ(decoded[i], std::nearbyint(values[i])) << bits << " bits, " << values[i];
    };
    expect_even(CodecScale::kMaxNorm, symmetric);
    expect_even(CodecScale::kMinMax, upward);
  }
}

// Nearest really is: against the same in double, but where that is nearly a tie.
TEST(CodecRoundingTest, NearestIsTheNearestLevel) {
  const std::vector<float> values = Gradients(512);
  for (const CodecOptions& options : UniformCases(512)) {
    if (options.rotate || options.rounding != CodecRounding::kNearest) continue;
    const std::vector<float> decoded = RoundTrip(*CodecOf(options), values, {});
    double low = *std::min_element(values.begin(), values.end()),
           high = *std::max_element(values.begin(), values.end());
    int steps = lowbit::MinMaxSteps(options.bits);
    if (options.scale == CodecScale::kMaxNorm) {
      high = std::max(high, -low);
      low = -high;
      steps = options.bits == 1 ? 1 : 2 * lowbit::MaxNormSteps(options.bits);
    }
    const double step = (high - low) / steps;
    for (size_t i = 0; i < values.size(); ++i) {
      const double place = (static_cast<double>(values[i]) - low) / step;
      if (std::fabs(place - std::floor(place) - 0.5) < 1e-4) continue;
      EXPECT_NEAR(decoded[i], low + std::nearbyint(place) * step, 1e-6 * high)
          << NameOf(options) << ", value " << values[i];
    }
  }
}

// How often values at `fraction` of a step above a level went up, over all levels but the last, and
// how many there were.
struct Draws {
  int64_t up = 0;
  int64_t all = 0;
  bool on_neighbours = true;  // nothing went anywhere but to the level below or above
};

Draws Draw(const CodecOptions& options, double fraction) {
  const bool max_norm = options.scale == CodecScale::kMaxNorm;
  const int steps = !max_norm           ? lowbit::MinMaxSteps(options.bits)
                    : options.bits == 1 ? 1
                                        : 2 * lowbit::MaxNormSteps(options.bits);
  const double low = -0.7, step = 1.4 / steps;
  std::vector<float> values = {-0.7f, 0.7f};
  while (values.size() < 512)
    values.push_back(
        static_cast<float>(low + (static_cast<int>(values.size()) % steps + fraction) * step));
  const auto codec = CodecOf(options);
  Draws draws;
  for (uint64_t at = 0; at < 400; ++at) {
    const std::vector<float> decoded =
        RoundTrip(*codec, values, {.seed = kCodecSeed, .step = at, .tensor = 9});
    for (size_t i = 2; i < values.size(); ++i) {
      const double off = (static_cast<double>(decoded[i]) - static_cast<double>(values[i])) / step;
      const bool up = off > 0;
      draws.up += up ? 1 : 0;
      draws.on_neighbours &= std::fabs(off - (up ? 1 - fraction : -fraction)) < 1e-3;
    }
    draws.all += static_cast<int64_t>(values.size()) - 2;
  }
  return draws;
}

// Going up with probability f, from a fraction f, is both: an error whose mean is 0 and whose
// variance is f (1 - f) steps^2.
TEST(CodecRoundingTest, StochasticRoundingIsUnbiasedWithTheVarianceOfACoin) {
  for (const CodecOptions& options : UniformCases(512)) {
    if (options.rotate || options.rounding != CodecRounding::kStochastic) continue;
    for (double fraction : {0.01, 0.125, 0.5, 0.7, 0.97}) {
      const Draws draws = Draw(options, fraction);
      EXPECT_TRUE(draws.on_neighbours) << NameOf(options) << " fraction " << fraction;
      const double n = static_cast<double>(draws.all), share = static_cast<double>(draws.up) / n;
      const double z = (share - fraction) / std::sqrt(fraction * (1 - fraction) / n);
      EXPECT_LT(std::fabs(z), 5) << NameOf(options) << " fraction " << fraction << ": up " << share
                                 << ", seed " << kCodecSeed;
      const double variance =
          share * (1 - fraction) * (1 - fraction) + (1 - share) * fraction * fraction;
      EXPECT_NEAR(variance / (fraction * (1 - fraction)), 1,
                  fraction < 0.05 || fraction > 0.95 ? 0.15 : 0.02)
          << NameOf(options);
    }
  }
}

// A level itself never moves.
TEST(CodecRoundingTest, StochasticRoundingKeepsTheEnds) {
  for (const CodecOptions& options : UniformCases(512)) {
    if (options.rotate || options.rounding != CodecRounding::kStochastic) continue;
    std::vector<float> values(512);
    for (size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? 0.37f : -0.37f;
    for (uint64_t step = 0; step < 200; ++step) {
      const std::vector<float> decoded = RoundTrip(*CodecOf(options), values, {.step = step});
      for (size_t i = 0; i < values.size(); ++i)
        ASSERT_NEAR(decoded[i], values[i], 1e-6) << NameOf(options) << " step " << step;
    }
  }
}

// A code beyond its bits would spill into its neighbour. The ends, under the greatest noise, of
// ranges of every kind.
TEST(CodecRoundingTest, CodesNeverExceedTheirBits) {
  constexpr uint32_t kMostNoise = 0xffff;
  CounterRandom random(kCodecSeed, 1);
  for (int trial = 0; trial < 300'000; ++trial) {
    const float a = lowbit::FromBits(random.NextUint32()),
                b = lowbit::FromBits(random.NextUint32());
    const float near = lowbit::FromBits(lowbit::Bits(a) + random.NextBelow(64));
    for (const auto& [low, high] : {std::minmax(a, b), std::minmax(a, near)}) {
      const int bits = 1 + static_cast<int>(random.NextBelow(8));
      const lowbit::UniformGrid range = lowbit::MinMaxGrid(bits, lowbit::Ordered(lowbit::Bits(low)),
                                                           lowbit::Ordered(lowbit::Bits(high)));
      if (range.step > 0) {
        const auto stochastic = lowbit::EncodingOf(range, bits, false, true),
                   nearest = lowbit::EncodingOf(range, bits, false, false);
        const uint32_t top = static_cast<uint32_t>(lowbit::MinMaxSteps(bits));
        ASSERT_EQ(lowbit::StochasticCode(high, stochastic, kMostNoise, bits), top)
            << bits << " bits, " << low << " to " << high;
        ASSERT_EQ(lowbit::StochasticCode(low, stochastic, kMostNoise, bits), 0u)
            << bits << " bits, " << low << " to " << high;
        ASSERT_EQ(lowbit::RoundedCode(high, nearest), top)
            << bits << " bits, " << low << " to " << high;
      }
      const uint32_t magnitude = lowbit::Bits(a) & lowbit::kMagnitudeMask;
      const lowbit::UniformGrid norm = lowbit::MaxNormGrid(bits, magnitude);
      if (norm.step > 0) {
        const auto stochastic = lowbit::EncodingOf(norm, bits, true, true);
        const float most = lowbit::FromBits(magnitude);
        const uint32_t top = bits == 1 ? 1 : 2 * static_cast<uint32_t>(lowbit::MaxNormSteps(bits));
        // One bit: its code 1 is the negative end.
        ASSERT_EQ(lowbit::StochasticCode(bits == 1 ? -most : most, stochastic, kMostNoise, bits),
                  top)
            << bits << " bits, " << most;
        ASSERT_EQ(lowbit::StochasticCode(bits == 1 ? most : -most, stochastic, kMostNoise, bits),
                  0u)
            << bits << " bits, " << most;
        ASSERT_TRUE(lowbit::IsFinite(lowbit::Multiply(
            norm.step, static_cast<float>(bits == 1 ? 1 : lowbit::MaxNormSteps(bits)))));
      }
    }
  }
}

// Coins of half a step: +1 or -1 each.
std::vector<int> Coins(const CodecNoise& noise, int bits) {
  const int64_t count = 1 << 16;
  std::vector<float> values(static_cast<size_t>(count), 0.0f);
  const int steps = lowbit::MinMaxSteps(bits);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = i % 512 == 0 ? 0.0f : i % 512 == 1 ? static_cast<float>(steps) : 0.5f;
  const auto codec =
      CodecOf({.bits = bits, .scale = CodecScale::kMinMax, .rounding = CodecRounding::kStochastic});
  std::vector<int> coins;
  for (float value : RoundTrip(*codec, values, noise)) coins.push_back(value > 0.5f ? 1 : -1);
  return coins;
}

double Correlation(const std::vector<int>& a, const std::vector<int>& b, size_t shift) {
  double sum = 0;
  int64_t n = 0;
  for (size_t i = 0; i + shift < a.size(); ++i) {
    if (i % 512 < 2 || (i + shift) % 512 < 2) continue;
    sum += a[i] * b[i + shift];
    ++n;
  }
  return sum / std::sqrt(static_cast<double>(n));  // a z
}

TEST(CodecRoundingTest, NoiseIsIndependentAmongValuesStepsTensorsRanksAndSeeds) {
  for (int bits : {1, 4, 8}) {
    const CodecNoise noise = {.seed = 1, .step = 1, .tensor = 1, .rank = 1};
    const std::vector<int> coins = Coins(noise, bits);
    for (size_t shift : {1, 2, 3, 7, 8, 15, 16, 31, 32, 64, 511, 512, 4096}) {
      EXPECT_LT(std::fabs(Correlation(coins, coins, shift)), 5) << bits << " bits, shift " << shift;
    }
    for (const auto& change : std::vector<std::function<void(CodecNoise&)>>{
             [](CodecNoise& n) { n.seed = 2; }, [](CodecNoise& n) { n.seed = 1ull + (1ull << 32); },
             [](CodecNoise& n) { n.step = 2; }, [](CodecNoise& n) { n.tensor = 2; },
             [](CodecNoise& n) { n.tensor = 1ull + (1ull << 63); },
             [](CodecNoise& n) { n.rank = 2; },
             [](CodecNoise& n) { n.rank = CodecNoise::kOwnerRank; },
             [](CodecNoise& n) { n.first_element = 512; },
             [](CodecNoise& n) { std::swap(n.step, n.tensor = 2); }}) {
      CodecNoise other = noise;
      change(other);
      const std::vector<int> others = Coins(other, bits);
      EXPECT_LT(std::fabs(Correlation(coins, others, 0)), 5) << bits << " bits";
    }
    EXPECT_EQ(coins, Coins(noise, bits));
  }
}

}  // namespace
}  // namespace ds
