// A model, its sites and its rounds in one process: sums against a serial reference in double,
// clipping, metrics, stale groups, and what is refused.
#include <cmath>
#include <functional>
#include <limits>

#include "federated/update/global_model.h"
#include "federated/update/grid.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

std::vector<float> Copy(absl::Span<const float> values) { return {values.begin(), values.end()}; }

// What the integers said is what was sent less what was left over: so the mean is known in double.
TEST(FederatedModelTest, TheMeanIsTheWeightedMeanOfTheUpdates) {
  for (const int bits : {1, 4, 8, 16}) {
    for (const bool rotate : {false, true}) {
      RunOptions options = Options(bits);
      options.update.rotate = rotate;
      const auto model = Made(options, 3, 100);
      std::vector<std::vector<float>> residuals(3);
      const int64_t samples[] = {100, 50, 10};
      for (uint64_t round = 0; round < 3; ++round) {
        const std::vector<float> start = Copy(model->weights());
        std::vector<double> mean(start.size());
        std::vector<IntegerVector> updates;
        for (size_t site = 0; site < 3; ++site) {
          const std::vector<float> delta = Noise(start.size(), 0.01f, 7 * round + site);
          const std::vector<float> before = residuals[site];
          updates.push_back(
              *model->Encode(delta, {.samples = samples[site]}, before, 1, &residuals[site]));
          for (size_t i = 0; i < delta.size(); ++i) {
            const double sent = delta[i] * static_cast<double>(samples[site]) / 100 +
                                (before.empty() ? 0 : before[i]) - residuals[site][i];
            mean[i] += sent / 1.6;
          }
        }
        ASSERT_TRUE(model->Advance(Summed(*model, updates), nullptr, nullptr).ok());
        for (size_t i = 0; i < start.size(); ++i) {
          ASSERT_NEAR(model->weights()[i], start[i] + mean[i], 2e-6)
              << bits << " bits, weight " << i;
        }
      }
      EXPECT_EQ(model->version(), 3);
    }
  }
}

// A first scale that is far too small cuts the update short. Made up for a round later, by sites
// that have not moved, it would be gone twice.
TEST(FederatedModelTest, WhatAFarTooSmallScaleCutOffIsNotSentOnceMore) {
  const auto model = Made(Options(4), 1);
  const std::vector<float> start = Copy(model->weights());
  const std::vector<float> delta = Noise(start.size(), 1, 3);  // the weights are 0.1
  std::vector<float> residual;
  for (int round = 0; round < 2; ++round) {
    const auto update = model->Encode(delta, {.samples = 1}, residual, 1, &residual);
    ASSERT_TRUE(model->Advance(Summed(*model, {*update}), nullptr, nullptr).ok());
  }
  double along = 0, squares = 0;
  for (size_t i = 0; i < 1500; ++i) {
    along += (model->weights()[i] - start[i]) * delta[i];
    squares += delta[i] * delta[i];
  }
  EXPECT_GT(along / squares, 0.9);
  EXPECT_LT(along / squares, 1.1);
}

// The server's variate is the mean of the sites', so theirs must arrive whole, sooner or later.
TEST(FederatedModelTest, ControlVariatesArriveWholeWhateverTheFirstScale) {
  RunOptions options = Options(4);
  options.strategy.name = "scaffold";
  const auto model = Made(options, 1);
  const size_t size = model->weights().size();
  const std::vector<float> control = Noise(size, 1, 4);
  std::vector<float> delta(2 * size), residual;
  std::copy(control.begin(), control.end(), delta.begin() + static_cast<ptrdiff_t>(size));
  for (int round = 0; round < 12; ++round) {
    const auto update = model->Encode(delta, {.samples = 1}, residual, 1, &residual);
    ASSERT_TRUE(model->Advance(Summed(*model, {*update}), nullptr, nullptr).ok());
    std::fill(delta.begin(), delta.end(), 0.0f);
  }
  double squares = 0;
  for (size_t i = 0; i < 1500; ++i) {
    const double error = model->control()[i] - control[i];
    squares += error * error;
  }
  EXPECT_LT(std::sqrt(squares / 1500), 0.02);
}

TEST(FederatedModelTest, MetricsAndSampleCountsAreSummed) {
  for (const int bits : {1, 3, 8, 16}) {
    const auto model = Made(Options(bits), 5);
    const std::vector<float> zeros(model->weights().size());
    std::vector<IntegerVector> updates;
    std::vector<float> residual;
    for (int64_t site = 0; site < 5; ++site) {
      const SiteMetrics metrics = {.samples = (int64_t{1} << 39) + site,
                                   .evaluated = 1000 + site,
                                   .correct = 900,
                                   .train_loss = 0.25 * static_cast<double>(site),
                                   .evaluation_loss = site == 4 ? NAN : 1.5};
      updates.push_back(*model->Encode(zeros, metrics, {}, 1, &residual));
    }
    SiteMetrics sums;
    int64_t sites = 0;
    ASSERT_TRUE(model->Advance(Summed(*model, updates), &sums, &sites).ok());
    EXPECT_EQ(sites, 5);
    EXPECT_EQ(sums.samples, 5 * (int64_t{1} << 39) + 10);
    EXPECT_EQ(sums.evaluated, 5010);
    EXPECT_EQ(sums.correct, 4500);
    EXPECT_EQ(sums.train_loss, 2.5);
    EXPECT_NEAR(sums.evaluation_loss, 4 * 1.5 + 65536, 1e-3);  // a NaN is as bad as can be
  }
}

TEST(FederatedModelTest, ASiteWeighsAsItsSamplesAtMostOne) {
  for (const int64_t samples : {1, 50, 100, 100000}) {
    const auto model = Made(Options(16), 2, 100);
    const std::vector<float> start = Copy(model->weights());
    std::vector<float> residual;
    const std::vector<float> up(start.size(), 1e-4f), zeros(start.size());
    const auto a = model->Encode(up, {.samples = samples}, {}, 1, &residual);
    const auto b = model->Encode(zeros, {.samples = 100}, {}, 1, nullptr);
    ASSERT_TRUE(a.ok() && b.ok());
    ASSERT_TRUE(model->Advance(Summed(*model, {*a, *b}), nullptr, nullptr).ok());
    const double weight = std::min(1.0, static_cast<double>(samples) / 100);
    double moved = 0;
    for (size_t i = 0; i < 1000; ++i) moved += (model->weights()[i] - start[i]) / 1000;
    EXPECT_NEAR(moved, 1e-4 * weight / (weight + 1), 2e-6) << samples;
  }
}

TEST(FederatedModelTest, ClippingBoundsTheNormOfWhatIsSent) {
  RunOptions options = Options(16);
  options.update.clip_norm = 0.5;
  const auto model = Made(options, 1);
  const std::vector<float> start = Copy(model->weights());
  std::vector<float> residual;
  for (int round = 0; round < 4; ++round) {  // error feedback must not send later what was clipped
    const auto update =
        model->Encode(Noise(start.size(), 3, 5), {.samples = 1}, residual, 1, &residual);
    ASSERT_TRUE(update.ok()) << update.status();
    ASSERT_TRUE(model->Advance(Summed(*model, {*update}), nullptr, nullptr).ok());
  }
  double squares = 0;
  for (size_t i = 0; i < start.size(); ++i) {
    const double sent = model->weights()[i] - start[i] + residual[i];
    squares += sent * sent;
  }
  EXPECT_LT(std::sqrt(squares), 4 * 0.5 * 1.001);
  EXPECT_GT(std::sqrt(squares), 4 * 0.5 * 0.98);
}

TEST(FederatedModelTest, StatisticsAreAveragedAndVariancesStayAboveZero) {
  RunOptions options = Options(2);
  options.strategy.server_learning_rate = 10;  // not theirs
  const auto model = Made(options, 2);
  std::vector<std::vector<float>> residuals(2);
  const size_t mean_at = 1507, variance_at = 1514;
  for (int round = 0; round < 3; ++round) {
    std::vector<IntegerVector> updates;
    for (size_t site = 0; site < 2; ++site) {
      std::vector<float> delta(model->weights().size());
      for (size_t i = 0; i < 7; ++i) {
        delta[mean_at + i] = (site == 0 ? 0.5f : 0.25f) - model->weights()[mean_at + i];
        delta[variance_at + i] = (i == 0 ? -5.0f : 3.0f) - model->weights()[variance_at + i];
      }
      updates.push_back(
          *model->Encode(delta, {.samples = 1}, residuals[site], 1, &residuals[site]));
    }
    ASSERT_TRUE(model->Advance(Summed(*model, updates), nullptr, nullptr).ok());
  }
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_NEAR(model->weights()[mean_at + i], 0.375, 2e-3);
    EXPECT_NEAR(model->weights()[variance_at + i], i == 0 ? 0 : 3, 2e-2);
    EXPECT_GE(model->weights()[variance_at + i], 0);
  }
}

TEST(FederatedModelTest, NaNAndInfinityAreRefusedBySlot) {
  const auto model = Made(Options(4), 2);
  std::vector<float> delta(model->weights().size());
  const size_t in_fc = delta.size() - 3;
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    delta[in_fc] = bad;
    const auto update = model->Encode(delta, {}, {}, 1, nullptr);
    EXPECT_EQ(update.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(update.status().message(), HasSubstr("'fc.weight'"));
  }
  delta[in_fc] = 0;
  EXPECT_EQ(model->Encode(absl::MakeSpan(delta).first(10), {}, {}, 1, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model->Encode(delta, {.samples = -1}, {}, 1, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
  // A value beyond all reason is cut, not spread over its block as a NaN.
  delta[in_fc] = 3e38f;
  std::vector<float> residual;
  ASSERT_TRUE(model->Encode(delta, {}, {}, 1, &residual).ok());
  for (const float value : residual) EXPECT_TRUE(std::isfinite(value));
}

// What a published sum may be wrong in; the model must be as it was.
TEST(FederatedModelTest, ImpossibleSumsAreRefusedAndChangeNothing) {
  const auto model = Made(Options(4), 3);
  std::vector<IntegerVector> updates;
  for (uint64_t site = 0; site < 2; ++site) {
    updates.push_back(*model->Encode(Noise(model->weights().size(), 0.01f, site), {.samples = 1},
                                     {}, 1, nullptr));
  }
  const Published sound = Summed(*model, updates);
  const std::string digest = model->digest();
  const std::vector<std::pair<const char*, std::function<void(Published&)>>> changes = {
      {"version", [](Published& p) { p.version = 2; }},
      {"base", [](Published& p) { p.groups[0].base_version = 1; }},
      {"old base", [](Published& p) { p.groups[0].base_version = -1; }},
      {"no group", [](Published& p) { p.groups.clear(); }},
      {"two groups", [](Published& p) { p.groups.push_back(p.groups[0]); }},
      {"divisor 0", [](Published& p) { p.groups[0].divisor = 0; }},
      {"divisor too large", [](Published& p) { p.groups[0].divisor = 4; }},
      {"updates 0", [](Published& p) { p.groups[0].updates = 0; }},
      {"a value too large", [](Published& p) { p.groups[0].sum.Set(5, 31); }},
      {"a digit too large",
       [](Published& p) { p.groups[0].sum.Set(p.groups[0].sum.size() - 1, 31); }},
      {"length", [&](Published& p) { p.groups[0].sum = IntegerVector(6, model->values() - 1); }},
      {"bits", [&](Published& p) { p.groups[0].sum = IntegerVector(7, model->values()); }},
      {"no weight", [&](Published& p) { p.groups[0].sum = IntegerVector(6, model->values()); }}};
  for (const auto& [name, change] : changes) {
    Published published = sound;
    change(published);
    EXPECT_EQ(model->Advance(published, nullptr, nullptr).code(), absl::StatusCode::kDataLoss)
        << name;
    EXPECT_EQ(model->digest(), digest) << name;
  }
  EXPECT_TRUE(model->Advance(sound, nullptr, nullptr).ok());
  EXPECT_NE(model->digest(), digest);
}

// fedbuff: updates of three versions, each on its own steps and rotation, meet in one publication.
TEST(FederatedModelTest, StaleUpdatesAreReadWithTheirOwnVersionsSteps) {
  RunOptions options = Options(8);
  options.strategy.name = "fedbuff";
  options.strategy.max_staleness = 2;
  options.strategy.buffer = 4;
  const auto model = Made(options, 3);
  std::vector<IntegerVector> made;  // of version 0, 1, 2
  std::vector<std::vector<float>> deltas, left(3);
  for (uint64_t version = 0; version < 3; ++version) {
    // Twice as large each time: the steps differ.
    deltas.push_back(Noise(model->weights().size(), 5e-3f * std::pow(2.0f, version), version));
    made.push_back(*model->Encode(deltas[version], {.samples = 1}, {}, 1, &left[version]));
    if (version == 2) break;
    ASSERT_TRUE(model->Advance(Summed(*model, {made[version]}), nullptr, nullptr).ok());
  }
  const std::vector<float> start = Copy(model->weights());
  Published published = {.version = 3};
  const int64_t weights[] = {9, 11, 16};
  double total = 0;
  for (size_t g = 0; g < 3; ++g) {
    IntegerVector sum(model->modulus_bits(), model->values());
    const std::vector<std::byte> packed = Pack(made[g]);
    sum.AddPacked(packed, 8, 0, model->values(), static_cast<uint32_t>(weights[g]));
    published.groups.push_back({.base_version = static_cast<int64_t>(g),
                                .divisor = weights[g],
                                .updates = static_cast<int64_t>(weights[g]),
                                .sum = std::move(sum)});
    total += static_cast<double>(weights[g]);
  }
  ASSERT_TRUE(model->Advance(published, nullptr, nullptr).ok());
  for (size_t i = 0; i < 1507; ++i) {
    double mean = 0;
    for (size_t g = 0; g < 3; ++g)
      mean += static_cast<double>(weights[g]) * (deltas[g][i] - left[g][i]) / total;
    ASSERT_NEAR(model->weights()[i], start[i] + mean, 2e-6) << i;
  }
  // Version 0 is too old now.
  Published late = Summed(*model, {made[0]});
  late.groups[0].base_version = 0;
  EXPECT_EQ(model->Advance(late, nullptr, nullptr).code(), absl::StatusCode::kDataLoss);
}

TEST(FederatedModelTest, ANumberOfBitsASumNeedsIsKnown) {
  EXPECT_EQ(Made(Options(4), 16)->modulus_bits(), 8);
  EXPECT_EQ(Made(Options(4), 17)->modulus_bits(), 8);
  EXPECT_EQ(Made(Options(4), 18)->modulus_bits(), 9);
  EXPECT_EQ(Made(Options(1), 3)->modulus_bits(), 2);
  EXPECT_EQ(Made(Options(16), 1)->modulus_bits(), 16);
  RunOptions buffered = Options(8);
  buffered.strategy.name = "fedbuff";
  EXPECT_EQ(Made(buffered, 100)->modulus_bits(), 14);  // 4 updates of weight 16
  const auto too_many =
      GlobalModel::Create(SmallLayout(), std::vector<float>(3521), Options(16), 1 << 20, 1);
  EXPECT_EQ(too_many.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(FederatedModelTest, BadModelsAreRefused) {
  const auto refused = [](ModelLayout layout, size_t count, float first = 0) {
    std::vector<float> weights(count);
    if (count > 0) weights[0] = first;
    return GlobalModel::Create(std::move(layout), std::move(weights), Options(4), 2, 1)
               .status()
               .code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused({}, 0));
  EXPECT_TRUE(refused({{{.name = "a", .count = 2}}}, 3));
  EXPECT_TRUE(refused({{{.name = "a", .count = 0}}}, 0));
  EXPECT_TRUE(refused({{{.name = "a", .count = -1}, {.name = "b", .count = 2}}}, 1));
  EXPECT_TRUE(refused({{{.name = "a", .count = 1}, {.name = "a", .count = 1}}}, 2));
  EXPECT_TRUE(refused({{{.name = "", .count = 1}}}, 1));
  EXPECT_TRUE(refused({{{.name = "\xff", .count = 1}}}, 1));
  EXPECT_TRUE(refused({{{.name = "a", .count = 1}}}, 1, NAN));
  EXPECT_FALSE(refused({{{.name = "a", .count = 1}}}, 1));
}

}  // namespace
}  // namespace ds::federated
