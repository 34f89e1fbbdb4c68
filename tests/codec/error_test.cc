// Errors lie within the analytic bound, and where a codec can do no better, near it.
#include <cmath>
#include <limits>
#include <set>

#include "codec/bound.h"
#include "codec/codec_math.h"
#include "gtest/gtest.h"
#include "tests/codec/cases.h"

namespace ds {
namespace {

constexpr CodecNoise kNoise = {.seed = kCodecSeed, .step = 1, .tensor = 2, .rank = 3};
constexpr float kMaxFloat = std::numeric_limits<float>::max();

double GreatestError(const CodecOptions& options, const std::vector<float>& values) {
  const std::vector<float> decoded = RoundTrip(*CodecOf(options), values, kNoise);
  double greatest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double error =
        std::fabs(static_cast<double>(decoded[i]) - static_cast<double>(values[i]));
    if (!(error <= greatest)) greatest = error;  // a NaN stays
  }
  return greatest;
}

struct Named {
  const char* name;
  std::vector<float> values;
};

// Buckets of `count` values that have gone wrong before, or could.
std::vector<Named> HardBuckets(int64_t count) {
  const size_t size = static_cast<size_t>(count);
  std::vector<Named> buckets = {{"normal", Gradients(count)}};
  const auto scaled = [&](const char* name, float factor, float offset) {
    std::vector<float> values = Gradients(count);
    for (float& value : values) value = value * factor + offset;
    buckets.push_back({name, values});
  };
  scaled("huge", 0x1p125f, 0);
  scaled("tiny", 0x1p-105f, 0);
  scaled("denormal", 0x1p-125f, 0);
  scaled("far from zero", 1, 1000);
  scaled("far below zero", 0.01f, -3e6f);
  buckets.push_back({"constant", std::vector<float>(size, 0.1f)});
  buckets.push_back({"one outlier", std::vector<float>(size, 1e-4f)});
  buckets.back().values[size / 2] = -1;
  buckets.push_back({"greatest floats", std::vector<float>(size, 1.0f)});
  buckets.back().values[0] = kMaxFloat;
  buckets.push_back({"least denormal", std::vector<float>(size, 0.0f)});
  buckets.back().values[size - 1] = 0x1p-149f;
  return buckets;
}

TEST(CodecErrorTest, IsWithinTheBound) {
  for (const CodecOptions& options : AllCases(512)) {
    for (int64_t count : {1, 2, 3, 64, 509, 512}) {
      for (const Named& bucket : HardBuckets(count)) {
        const double bound = CodecErrorBound(options, bucket.values);
        if (std::isnan(bound)) {  // poisoned: says the bound, and so says the codec
          EXPECT_TRUE(std::isnan(GreatestError(options, bucket.values)))
              << NameOf(options) << ", " << bucket.name;
          continue;
        }
        if (std::isinf(bound)) continue;  // a half, or a rotation of the greatest floats
        EXPECT_LE(GreatestError(options, bucket.values), bound)
            << NameOf(options) << ", " << count << " values, " << bucket.name;
      }
    }
  }
}

TEST(CodecErrorTest, IsInfiniteWhereAHalfOverflows) {
  for (CodecKind kind : {CodecKind::kFloat16, CodecKind::kBFloat16}) {
    const std::vector<float> values = {1.0f, kMaxFloat};
    EXPECT_TRUE(std::isinf(CodecErrorBound({.kind = kind}, values)));
    EXPECT_TRUE(std::isinf(GreatestError({.kind = kind}, values)));
  }
}

// Every level of the grid, and a value `fraction` of a step above each but the last.
std::vector<float> BetweenLevels(const CodecOptions& options, double low, double high,
                                 double fraction) {
  const bool max_norm = options.scale == CodecScale::kMaxNorm;
  const int steps = !max_norm           ? lowbit::MinMaxSteps(options.bits)
                    : options.bits == 1 ? 1
                                        : 2 * lowbit::MaxNormSteps(options.bits);
  std::vector<float> values = {static_cast<float>(low), static_cast<float>(high)};
  while (values.size() < 4096) {
    const int level = static_cast<int>(values.size()) % steps;
    values.push_back(static_cast<float>(low + (level + fraction) * (high - low) / steps));
  }
  return values;
}

TEST(CodecErrorTest, ReachesTheBoundHalfWayBetweenLevels) {
  for (CodecOptions options : UniformCases(4096)) {
    if (options.rotate) continue;
    const bool nearest = options.rounding == CodecRounding::kNearest;
    // Stochastic rounding takes one in fifty of these the whole way.
    const std::vector<float> values = BetweenLevels(options, -1.7, 1.7, nearest ? 0.5 : 0.02);
    const double bound = CodecErrorBound(options, values), error = GreatestError(options, values);
    EXPECT_LE(error, bound) << NameOf(options);
    EXPECT_GE(error, 0.97 * bound) << NameOf(options);
  }
}

TEST(CodecErrorTest, SignAndTopKAreAsFarOffAsTheySay) {
  std::vector<float> values = Gradients(512);
  for (const CodecOptions& options :
       {CodecOptions{.kind = CodecKind::kSign}, CodecOptions{.kind = CodecKind::kTopK},
        CodecOptions{.kind = CodecKind::kTopK, .density = 0.3}}) {
    EXPECT_GE(GreatestError(options, values), 0.9999 * CodecErrorBound(options, values))
        << NameOf(options);
  }
}

TEST(CodecErrorTest, HalvesReachTheirBoundHalfWay) {
  // 1 + 2^-11 lies half way between float16 values, 1 + 2^-8 between bfloat16 ones; in a binade of
  // their own bound.
  EXPECT_EQ(GreatestError({.kind = CodecKind::kFloat16}, {1 + 0x1p-11f}), 0x1p-11);
  EXPECT_EQ(GreatestError({.kind = CodecKind::kBFloat16}, {1 + 0x1p-8f}), 0x1p-8);
  EXPECT_EQ(GreatestError({.kind = CodecKind::kFloat16}, {0x1p-25f}), 0x1p-25);
}

// No more values come out than codes went in: nothing else can have travelled.
TEST(CodecErrorTest, ABucketDecodesToNoMoreValuesThanItHasLevels) {
  for (const CodecOptions& options : UniformCases(4096)) {
    if (options.rotate) continue;
    const std::vector<float> decoded = RoundTrip(*CodecOf(options), Gradients(4096), kNoise);
    const std::set<float> levels(decoded.begin(), decoded.end());
    const bool symmetric = options.scale == CodecScale::kMaxNorm && options.bits > 1;
    EXPECT_LE(levels.size(), (1u << options.bits) - (symmetric ? 1 : 0)) << NameOf(options);
  }
}

// Uniform noise of half a step has a variance of step^2 / 12.
TEST(CodecErrorTest, NearestRoundingHasTheVarianceOfItsStep) {
  CounterRandom random(kCodecSeed);
  std::vector<float> values(4096);
  for (float& value : values) value = 2 * random.NextFloat() - 1;
  values[0] = 1;
  values[1] = -1;
  for (const CodecOptions& options : UniformCases(4096)) {
    if (options.rotate || options.rounding != CodecRounding::kNearest) continue;
    const int steps = options.scale == CodecScale::kMinMax ? lowbit::MinMaxSteps(options.bits)
                      : options.bits == 1                  ? 1
                                                           : 2 * lowbit::MaxNormSteps(options.bits);
    const std::vector<float> decoded = RoundTrip(*CodecOf(options), values, kNoise);
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i)
      sum += std::pow(static_cast<double>(decoded[i]) - static_cast<double>(values[i]), 2);
    const double step = 2.0 / steps;
    // One bit at min-max halves at the ends: values near an end round to it from one side only,
    // from up to half the range.
    EXPECT_NEAR(sum / 4096 / (step * step / 12), 1, 0.1)
        << NameOf(options) << ", seed " << kCodecSeed;
  }
}

TEST(CodecErrorTest, ConstantBucketsAreExactAtMinMaxAndZeroAtMaxNorm) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (CodecRounding rounding : {CodecRounding::kNearest, CodecRounding::kStochastic}) {
      for (float constant : {0.1f, -3e30f, 0x1p-149f, kMaxFloat, -kMaxFloat}) {
        const std::vector<float> values(100, constant);
        EXPECT_EQ(GreatestError({.bits = bits, .scale = CodecScale::kMinMax, .rounding = rounding},
                                values),
                  0)
            << bits << " " << constant;
      }
      std::vector<float> values(100, 0.0f);
      values[17] = 0.3f;
      if (bits == 1) continue;  // without a zero among its levels
      const std::vector<float> decoded =
          RoundTrip(*CodecOf({.bits = bits, .rounding = rounding}), values, kNoise);
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(decoded[i], values[i], 1e-7f) << bits << " bits, value " << i;
        if (i != 17) {
          EXPECT_EQ(lowbit::Bits(decoded[i]), 0u) << "a zero is exact";
        }
      }
    }
  }
}

TEST(CodecErrorTest, ARangeBeyondTheGreatestFloatPoisonsMinMaxOnly) {
  std::vector<float> values(64, 0.0f);
  values[0] = kMaxFloat;
  values[1] = -kMaxFloat;
  for (int bits = 1; bits <= 8; ++bits) {
    const CodecOptions min_max = {.bits = bits, .scale = CodecScale::kMinMax},
                       max_norm = {.bits = bits};
    EXPECT_TRUE(std::isnan(CodecErrorBound(min_max, values)));
    for (float value : RoundTrip(*CodecOf(min_max), values, kNoise))
      EXPECT_TRUE(std::isnan(value)) << bits;
    const std::vector<float> decoded = RoundTrip(*CodecOf(max_norm), values, kNoise);
    EXPECT_TRUE(std::isfinite(decoded[0]) && decoded[0] > 0.999999f * kMaxFloat)
        << bits << ": " << decoded[0];
    EXPECT_TRUE(std::isfinite(decoded[1]) && decoded[1] < -0.999999f * kMaxFloat)
        << bits << ": " << decoded[1];
  }
}

// --- Rotation

// In double, by the definition of the Hadamard matrix: entry (i, j) is -1 to the number of bits
// that i and j share.
std::vector<double> Rotated(const std::vector<float>& values) {
  const lowbit::NoiseStream stream = lowbit::MakeNoiseStream(
      kNoise.seed, kNoise.step, kNoise.tensor, kNoise.rank, lowbit::NoiseUse::kRotation);
  const size_t count = values.size();
  std::vector<double> rotated(count, 0.0);
  for (size_t at = 0, size; at < count; at += size) {
    size = std::bit_floor(count - at);
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j < size; ++j) {
        const double sign =
            (std::popcount(i & j) % 2 == 0) != lowbit::RotationFlips(stream, at + j) ? 1 : -1;
        rotated[at + i] +=
            sign * static_cast<double>(values[at + j]) / std::sqrt(static_cast<double>(size));
      }
    }
  }
  return rotated;
}

TEST(CodecErrorTest, ARotatedBucketIsOffByTheNormOfItsGrid) {
  for (const CodecOptions& options : UniformCases(512)) {
    if (!options.rotate) continue;
    for (int64_t count : {64, 100, 300, 512}) {
      const std::vector<float> values = Gradients(count);
      const std::vector<double> rotated = Rotated(values);
      const auto [low, high] = std::minmax_element(rotated.begin(), rotated.end());
      const std::vector<float> decoded = RoundTrip(*CodecOf(options), values, kNoise);
      double sum = 0;
      for (size_t i = 0; i < values.size(); ++i)
        sum += std::pow(static_cast<double>(decoded[i]) - static_cast<double>(values[i]), 2);
      const double bound = RotatedErrorNorm(options, count, *low, *high);
      EXPECT_LE(std::sqrt(sum), bound) << NameOf(options) << " count " << count;
      EXPECT_GE(std::sqrt(sum), 0.2 * bound) << NameOf(options) << " count " << count;
      EXPECT_LE(std::sqrt(sum),
                CodecErrorBound(options, values) * std::sqrt(static_cast<double>(count)));
    }
  }
}

// What rotation is for: an outlier no longer sets the grid of all others.
TEST(CodecErrorTest, RotationHelpsWhereAnOutlierSetsTheGrid) {
  CounterRandom random(kCodecSeed);
  std::vector<float> values(512);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  values[100] = 12;
  const auto error = [&](const CodecOptions& options) {
    const std::vector<float> decoded = RoundTrip(*CodecOf(options), values, kNoise);
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i)
      sum += std::pow(static_cast<double>(decoded[i]) - static_cast<double>(values[i]), 2);
    return sum;
  };
  for (int bits = 1; bits <= 3; ++bits) {
    CodecOptions options = {.bits = bits, .rounding = CodecRounding::kStochastic};
    const double plain = error(options);
    options.rotate = true;
    EXPECT_LT(error(options), 0.5 * plain) << bits << " bits";
  }
}

}  // namespace
}  // namespace ds
