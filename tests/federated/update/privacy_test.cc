// Noise in a sum: that it is there, of the size that was planned, on coordinates alone; that no
// update is longer than the noise was calibrated to; that the mean stays right.
#include <cmath>
#include <numeric>

#include "federated/privacy/noise.h"
#include "federated/privacy/random_source.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

// Not for anything but tests: it can be foreseen.
RandomSource Foreseeable(uint64_t stream) {
  auto random = std::make_shared<CounterRandom>(kSiteSeed, stream);
  return [random](absl::Span<std::byte> out) {
    for (std::byte& byte : out) byte = static_cast<std::byte>(random->NextUint32());
  };
}

RunOptions Private(const std::string& mechanism, int bits) {
  RunOptions options = Options(bits);
  options.round.wait_for = options.round.minimum = 4;
  options.privacy.mechanism = mechanism;
  options.privacy.noise_multiplier = 0.5;
  options.update.clip_norm = 1;
  options.update.error_feedback = false;
  options.update.weighting = "equal";
  options.secure.mode = mechanism == "central" ? "off" : "on";
  options.secure.colluders = 0;
  if (options.secure.mode == "on") options.secure.threshold = options.round.minimum;
  return options;
}

// Levels of the coordinates as signed numbers.
std::vector<double> Centred(const GlobalModel& model, const IntegerVector& sum, int64_t updates) {
  std::vector<double> values;
  const int64_t half = int64_t{1} << (sum.bits() - 1);
  const int64_t centre = updates << (model.shape().bits - 1);
  for (int64_t i = 0; i < model.shape().coordinates; ++i) {
    int64_t value = static_cast<int64_t>(sum.Get(i)) - centre;
    if (value >= half) value -= 2 * half;
    values.push_back(static_cast<double>(value));
  }
  return values;
}

double NormOf(const std::vector<double>& values) {
  return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
}

TEST(FederatedPrivacyTest, NoUpdateIsLongerThanItsNoiseWasCalibratedTo) {
  for (const int bits : {2, 4, 8, 16}) {
    const auto model = Made(Private("central", bits), 4);
    const auto release = model->ReleaseOf(4);
    ASSERT_TRUE(release.ok()) << release.status();
    for (uint64_t site = 0; site < 20; ++site) {
      // Far beyond the clip, evenly or in a few values.
      std::vector<float> delta = Noise(model->weights().size(), 10, site);
      if (site % 2 == 0) std::fill(delta.begin() + 5, delta.end(), 0.0f);
      const auto update = model->Encode(delta, {.samples = 1}, {}, site, nullptr);
      ASSERT_TRUE(update.ok()) << update.status();
      const double norm = NormOf(Centred(*model, *update, 1));
      EXPECT_LE(norm, release->sensitivity) << bits << " bits";
      // Not because nothing was sent.
      if (site % 2 == 1 && bits > 2) {
        EXPECT_GT(norm, 0.8 * release->sensitivity) << bits;
      }
    }
  }
}

// The worst there is: every value half way between two levels, all at the clip.
TEST(FederatedPrivacyTest, AnUnluckyRoundingIsDoneAgain) {
  RunOptions options = Private("central", 5);
  options.update.rotate = false;
  const auto model = Made(options, 4);
  const double bound = model->ReleaseOf(4)->sensitivity;
  const std::vector<float> delta(model->weights().size(), 1.0f);
  for (uint64_t key = 0; key < 100; ++key) {
    const auto update = model->Encode(delta, {.samples = 1}, {}, key, nullptr);
    ASSERT_TRUE(update.ok()) << update.status();
    EXPECT_LE(NormOf(Centred(*model, *update, 1)), bound) << "key " << key;
  }
}

TEST(FederatedPrivacyTest, CentralNoiseIsInTheSumAndHasThePlannedSize) {
  const auto model = Made(Private("central", 8), 4);
  const std::vector<float> zeros(model->weights().size());
  std::vector<IntegerVector> updates;
  for (uint64_t site = 0; site < 4; ++site)
    updates.push_back(*model->Encode(zeros, {.samples = 1}, {}, site, nullptr));
  Published published = Summed(*model, updates);
  EXPECT_EQ(NormOf(Centred(*model, published.groups[0].sum, 4)), 0);
  ASSERT_TRUE(model->AddNoise(published, Foreseeable(1)).ok());
  const double count = static_cast<double>(model->shape().coordinates);
  const std::vector<double> noisy = Centred(*model, published.groups[0].sum, 4);
  const double expected = 0.5 * model->ReleaseOf(4)->sensitivity;
  EXPECT_NEAR(NormOf(noisy) / std::sqrt(count), expected, 5 * expected / std::sqrt(2 * count));
  EXPECT_NEAR(std::sqrt(model->ReleaseOf(4)->variance), expected, 0.01 * expected);
  const std::vector<float> before(model->weights().begin(), model->weights().end());
  ASSERT_TRUE(model->Advance(published, nullptr, nullptr).ok());
  // The same noise in the weights: sigma * clip_norm / 4 sites, spread over the coordinates.
  double squares = 0;
  for (size_t i = 0; i < before.size(); ++i)
    squares += std::pow(static_cast<double>(model->weights()[i] - before[i]), 2);
  EXPECT_NEAR(std::sqrt(squares), 0.5 / 4 * std::sqrt(count), 0.01 * std::sqrt(count));
}

// The noise of the sum is enough where only the minimum of sites is in it, and more otherwise.
TEST(FederatedPrivacyTest, TheSitesSharesAddUp) {
  for (const char* mechanism : {"discrete_gaussian", "skellam"}) {
    for (const uint64_t sites : {4u, 9u}) {
      const auto model = Made(Private(mechanism, 6), 10);
      EXPECT_EQ(model->update_bits(), model->modulus_bits());
      const std::vector<float> zeros(model->weights().size());
      std::vector<IntegerVector> updates;
      for (uint64_t site = 0; site < sites; ++site) {
        const auto update =
            model->Encode(zeros, {.samples = 1}, {}, site, nullptr, Foreseeable(10 + site));
        ASSERT_TRUE(update.ok()) << update.status();
        updates.push_back(*update);
      }
      const Published published = Summed(*model, updates);
      const auto release = model->ReleaseOf(static_cast<int64_t>(sites));
      const double count = static_cast<double>(model->shape().coordinates);
      const double found =
          NormOf(Centred(*model, published.groups[0].sum, static_cast<int64_t>(sites))) /
          std::sqrt(count);
      EXPECT_NEAR(found, std::sqrt(release->variance), 0.05 * found) << mechanism;
      EXPECT_NEAR(std::sqrt(release->variance),
                  0.5 * release->sensitivity * std::sqrt(static_cast<double>(sites) / 4),
                  0.01 * found);
    }
  }
}

TEST(FederatedPrivacyTest, TheMeanStaysRightUnderNoise) {
  for (const char* mechanism : {"central", "discrete_gaussian"}) {
    RunOptions options = Private(mechanism, 8);
    options.privacy.noise_multiplier = 1e-3;  // so that the mean is seen through it
    const auto model = Made(options, 4);
    const std::vector<float> before(model->weights().begin(), model->weights().end());
    std::vector<double> mean(before.size());
    std::vector<IntegerVector> updates;
    for (uint64_t site = 0; site < 4; ++site) {
      const std::vector<float> delta = Noise(before.size(), 0.01f, site);
      for (size_t i = 0; i < delta.size(); ++i) mean[i] += delta[i] / 4;
      updates.push_back(
          *model->Encode(delta, {.samples = 1}, {}, site, nullptr, Foreseeable(20 + site)));
    }
    Published published = Summed(*model, updates);
    if (std::string(mechanism) == "central") {
      ASSERT_TRUE(model->AddNoise(published, Foreseeable(3)).ok());
    }
    ASSERT_TRUE(model->Advance(published, nullptr, nullptr).ok());
    double off = 0, size = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      off += std::pow(static_cast<double>(model->weights()[i] - before[i]) - mean[i], 2);
      size += mean[i] * mean[i];
    }
    // What stochastic rounding leaves.
    EXPECT_LT(std::sqrt(off / size), 0.15) << mechanism;
  }
}

TEST(FederatedPrivacyTest, NoNumberTravelsThatNoNoiseCovers) {
  const auto hidden = Made(Private("central", 8), 4);
  EXPECT_TRUE(hidden->shape().sections.empty());
  RunOptions declared = Private("central", 8);
  declared.privacy.declare_metrics = true;
  declared.update.weighting = "samples";
  const auto open = Made(declared, 4);
  ASSERT_EQ(open->shape().sections.size(), 2u);
  EXPECT_EQ(open->shape().sections[0].role, DigitRole::kWeight);
  EXPECT_EQ(open->shape().sections[1].role, DigitRole::kMetric);
  EXPECT_GE(open->shape().coordinates, SmallLayout().size());  // statistics among them
}

TEST(FederatedPrivacyTest, MisuseIsRefused) {
  const std::vector<float> zeros(static_cast<size_t>(SmallLayout().size()));
  const auto central = Made(Private("central", 8), 4);
  const auto sites = Made(Private("skellam", 8), 4);
  // Without randomness there would be no noise.
  EXPECT_EQ(sites->Encode(zeros, {}, {}, 1, nullptr).status().code(),
            absl::StatusCode::kFailedPrecondition);
  Published published = {.version = 1, .groups = {{.divisor = 1, .updates = 1}}};
  EXPECT_EQ(sites->AddNoise(published, Foreseeable(1)).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Made(Options(8), 4)->ReleaseOf(1).status().code(),
            absl::StatusCode::kFailedPrecondition);
  // A sum without room for its noise was never noisy.
  const auto update = central->Encode(zeros, {}, {}, 1, nullptr);
  published = {.version = 1};
  published.groups.push_back({.divisor = 1, .updates = 1, .sum = *update});
  EXPECT_EQ(central->Advance(published, nullptr, nullptr).code(), absl::StatusCode::kDataLoss);
  RunOptions unclipped = Private("central", 8);
  unclipped.update.clip_norm = 0;
  EXPECT_EQ(
      GlobalModel::Create({{{.name = "a", .count = 1}}}, {0}, unclipped, 4, 1).status().code(),
      absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds::federated
