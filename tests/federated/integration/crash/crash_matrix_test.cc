// The aggregator dies at every step that it makes, and sites die, hang, and have bad links: the
// final model is the undisturbed run's, bit for bit, no update counts twice, no round has two sets
// of survivors, and the next life answers within two seconds. Where sites send updates at any time,
// no two runs are alike: then the final model is the one that the log's own updates make.
//
//   federated_crash_matrix_test [--runs=N]     N runs in all; 240 where it is not given
#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "tests/federated/integration/crash/crash_world.h"
#include "tests/support/sanitized.h"

namespace ds::federated {
namespace {

constexpr int kSites = 4;
constexpr int64_t kRounds = 3;
int total_runs = 240;

RunOptions Options(const std::string& secure, const std::string& strategy = "fedavg") {
  RunOptions options;
  options.round.rounds = kRounds;
  options.round.wait_for = options.round.minimum = kSites;
  options.update.bits = 4;
  options.secure.mode = secure;
  options.secure.rounds_a_setup = 2;  // more than one set-up
  options.strategy.name = strategy;
  return options;
}

// What must hold whatever happened.
void ExpectSound(const WorldOutcome& outcome) {
  for (const auto& report : outcome.reports) EXPECT_TRUE(report.ok()) << report.status();
  ASSERT_TRUE(outcome.log.ok()) << outcome.log.status();
  ASSERT_FALSE(::testing::Test::HasFailure());
  EXPECT_EQ(outcome.log->end, EndState::kFinished) << outcome.log->reason;
  EXPECT_EQ(outcome.log->versions, kRounds);
  EXPECT_TRUE(outcome.model.ok()) << outcome.model;
  for (const auto& report : outcome.reports) {
    EXPECT_EQ(report->end, EndState::kFinished);
    EXPECT_EQ(report->model_digest, outcome.log->model_digest);
    EXPECT_EQ(report->version, kRounds);
  }
  EXPECT_LT(outcome.slowest_return, kTimesSlower * absl::Seconds(2));
}

// Every site's update of every round counted, once, and nobody heard of two sets of survivors.
void ExpectEachCountedOnce(const WorldOutcome& outcome, bool strict) {
  for (int i = 0; i < kSites; ++i)
    EXPECT_EQ(outcome.log->counted.at(absl::StrCat("site-", i)), kRounds);
  EXPECT_EQ(outcome.log->abandoned, 0);
  // strict: without the echoes, then with them.
  for (const auto& [round, digests] : outcome.told)
    EXPECT_LE(digests.size(), strict ? 2u : 1u) << "round " << round;
}

struct Sound {
  std::string digest;
  int64_t steps = 0;
};

Sound Undisturbed(const RunOptions& options, absl::Duration training = absl::ZeroDuration()) {
  CrashWorld world(kSites, options);
  world.SlowTraining(training);
  const WorldOutcome outcome = world.Run({});
  ExpectSound(outcome);
  if (!outcome.log.ok()) return {};
  EXPECT_EQ(outcome.lives, 1);
  EXPECT_GT(outcome.steps, 40);
  if (training > absl::ZeroDuration()) {
    EXPECT_GT(outcome.log->setups_beside, 0) << "the next set-up lay in no training";
  }
  return {outcome.log->model_digest, outcome.steps};
}

int Share(int percent) { return std::max(1, total_runs * percent / 100); }

struct Mode {
  std::string name, secure, strategy;
  int percent;
  // Where it is not 0, each round takes a set-up of its own, made while the round before trains.
  absl::Duration training = absl::ZeroDuration();

  RunOptions Options() const {
    RunOptions options = ds::federated::Options(secure, strategy);
    if (training > absl::ZeroDuration()) options.secure.rounds_a_setup = 1;
    return options;
  }
};

// One death, at a place that is `run`'s of `runs` over the steps of a life, every second one with
// the step's effect.
Troubles OneDeath(const std::string& mode, int run, int runs, int64_t steps) {
  CounterRandom random(2026, StreamOf(mode.data(), mode.size()), run);
  Troubles troubles;
  troubles.seed = run + 1;
  const double at = (run + random.NextDouble()) / runs;
  troubles.aggregator.push_back({.at = 1 + static_cast<int64_t>(at * steps),
                                 .with_effect = random.NextBelow(2) == 0,
                                 .power = random.NextBelow(2) == 0});
  return troubles;
}

// Everything at once: several lives, sites that die too, links that lose, repeat, replay and cut.
Troubles Everything(const std::string& mode, int run, int64_t steps) {
  CounterRandom random(2027, StreamOf(mode.data(), mode.size()), run);
  Troubles troubles;
  troubles.seed = 100 + run;
  for (uint32_t life = 1 + random.NextBelow(3); life > 0; --life)
    troubles.aggregator.push_back({.at = 1 + random.NextBelow(static_cast<uint32_t>(steps)),
                                   .with_effect = random.NextBelow(2) == 0,
                                   .power = random.NextBelow(2) == 0});
  for (uint32_t death = random.NextBelow(4); death > 0; --death)
    troubles.sites.push_back({.site = static_cast<int>(random.NextBelow(kSites)),
                              .at = 1 + static_cast<int>(random.NextBelow(40)),
                              .with_effect = random.NextBelow(2) == 0});
  troubles.link = {.lose_request = 0.05,
                   .lose_reply = 0.05,
                   .duplicate = 0.2,
                   .replay = 0.2,
                   .cut_upload = 0.2,
                   .delay = 0.1,
                   .longest_delay = absl::Milliseconds(20)};
  return troubles;
}

std::string Said(const std::string& mode, int run, const Troubles& troubles, int64_t steps) {
  return absl::StrCat(mode, " run ", run, ", step ", troubles.aggregator[0].at, " of ", steps,
                      troubles.aggregator[0].with_effect ? " with" : " without", " its effect");
}

class CrashMatrix : public ::testing::TestWithParam<Mode> {};

TEST_P(CrashMatrix, TheAggregatorDiesAtEachOfItsSteps) {
  const Mode& mode = GetParam();
  const RunOptions options = mode.Options();
  const Sound sound = Undisturbed(options, mode.training);
  ASSERT_FALSE(HasFailure());
  const int runs = Share(mode.percent);
  absl::Duration slowest;
  int64_t deaths = 0;
  for (int run = 0; run < runs; ++run) {
    const Troubles troubles = OneDeath(mode.name, run, runs, sound.steps);
    SCOPED_TRACE(Said(mode.name, run, troubles, sound.steps));
    CrashWorld world(kSites, options);
    world.SlowTraining(mode.training);
    const WorldOutcome outcome = world.Run(troubles);
    ExpectSound(outcome);
    if (HasFailure()) return;
    EXPECT_EQ(outcome.log->model_digest, sound.digest);
    ExpectEachCountedOnce(outcome, mode.secure == "strict");
    if (HasFailure()) return;
    slowest = std::max(slowest, outcome.slowest_return);
    deaths += outcome.lives - 1;
  }
  std::printf("%s: %d runs over %d steps, %d deaths, back within %.0f ms\n", mode.name.c_str(),
              runs, static_cast<int>(sound.steps), static_cast<int>(deaths),
              absl::ToDoubleMilliseconds(slowest));
  EXPECT_GE(deaths, runs * 3 / 4) << "most lives should have ended where they were to";
}

TEST_P(CrashMatrix, TheAggregatorAndSitesDieAndLinksAreBad) {
  const Mode& mode = GetParam();
  const RunOptions options = mode.Options();
  const Sound sound = Undisturbed(options, mode.training);
  ASSERT_FALSE(HasFailure());
  const int runs = Share(mode.percent);
  absl::Duration slowest;
  int64_t deaths = 0;
  for (int run = 0; run < runs; ++run) {
    const Troubles troubles = Everything(mode.name, run, sound.steps);
    SCOPED_TRACE(absl::StrCat(mode.name, " run ", run));
    CrashWorld world(kSites, options);
    world.SlowTraining(mode.training);
    const WorldOutcome outcome = world.Run(troubles);
    ExpectSound(outcome);
    if (HasFailure()) return;
    EXPECT_EQ(outcome.log->model_digest, sound.digest);
    ExpectEachCountedOnce(outcome, mode.secure == "strict");
    if (HasFailure()) return;
    slowest = std::max(slowest, outcome.slowest_return);
    deaths += outcome.lives - 1;
  }
  std::printf("%s: %d runs, %d deaths of the aggregator, back within %.0f ms\n", mode.name.c_str(),
              runs, static_cast<int>(deaths), absl::ToDoubleMilliseconds(slowest));
}

INSTANTIATE_TEST_SUITE_P(
    Modes, CrashMatrix,
    ::testing::Values(Mode{"open", "off", "fedavg", 14}, Mode{"scaffold", "off", "scaffold", 5},
                      Mode{"secure", "on", "fedavg", 15}, Mode{"strict", "strict", "fedavg", 6},
                      Mode{"beside", "on", "fedavg", 8, absl::Milliseconds(50)}),
    [](const auto& info) { return info.param.name; });

struct Buffered {
  std::string name;
  int64_t buffer, max_staleness;
};

RunOptions OptionsOf(const Buffered& mode) {
  RunOptions options = Options("off", "fedbuff");
  options.strategy.buffer = mode.buffer;
  options.strategy.max_staleness = mode.max_staleness;
  return options;
}

// The log's own rules (ReadRunLog) say that no update counts twice, and CheckModels that each sum
// is of those that came first. Every sum is full, and no site believes more than that.
void ExpectFullSums(const WorldOutcome& outcome, int64_t buffer) {
  EXPECT_EQ(outcome.log->abandoned, 0);
  for (const RunSum& sum : outcome.log->sums)
    EXPECT_EQ(static_cast<int64_t>(sum.updates.size()), buffer);
  for (int i = 0; i < kSites; ++i) {
    const auto counted = outcome.log->counted.find(absl::StrCat("site-", i));
    const int64_t in_sums = counted == outcome.log->counted.end() ? 0 : counted->second;
    EXPECT_LE(outcome.reports[i]->counted, in_sums) << "site-" << i;
  }
}

class BufferedCrashMatrix : public ::testing::TestWithParam<Buffered> {
 protected:
  // Runs, each with its own troubles, until one is not as it should be.
  int64_t Deaths(int runs, const std::function<Troubles(int run)>& troubles) const {
    absl::Duration slowest;
    int64_t deaths = 0;
    for (int run = 0; run < runs && !HasFailure(); ++run) {
      const Troubles now = troubles(run);
      SCOPED_TRACE(Said(GetParam().name, run, now, steps_));
      CrashWorld world(kSites, OptionsOf(GetParam()));
      const WorldOutcome outcome = world.Run(now);
      ExpectSound(outcome);
      if (HasFailure()) return deaths;
      ExpectFullSums(outcome, GetParam().buffer);
      slowest = std::max(slowest, outcome.slowest_return);
      deaths += outcome.lives - 1;
    }
    std::printf("%s: %d runs over %d steps, %d deaths, back within %.0f ms\n",
                GetParam().name.c_str(), runs, static_cast<int>(steps_), static_cast<int>(deaths),
                absl::ToDoubleMilliseconds(slowest));
    return deaths;
  }
  // No two runs take as many steps: as many as the shortest of a few.
  void SetUp() override {
    steps_ = Undisturbed(OptionsOf(GetParam())).steps;
    for (int i = 0; i < 2; ++i) steps_ = std::min(steps_, Undisturbed(OptionsOf(GetParam())).steps);
    ASSERT_GT(steps_, 0);
  }

  int64_t steps_ = 0;
};

TEST_P(BufferedCrashMatrix, TheAggregatorDiesAtEachOfItsSteps) {
  const int runs = Share(5);
  const int64_t deaths =
      Deaths(runs, [&](int run) { return OneDeath(GetParam().name, run, runs, steps_); });
  EXPECT_GE(deaths, runs / 2) << "most lives should have ended where they were to";
}

TEST_P(BufferedCrashMatrix, TheAggregatorAndSitesDieAndLinksAreBad) {
  Deaths(Share(3), [&](int run) { return Everything(GetParam().name, run, steps_); });
}

// `tight`: whoever is a version behind starts again.
INSTANTIATE_TEST_SUITE_P(Modes, BufferedCrashMatrix,
                         ::testing::Values(Buffered{"fedbuff", 3, 10}, Buffered{"tight", 2, 0}),
                         [](const auto& info) { return info.param.name; });

// The noise is drawn anew in each life, so models differ from run to run; but each round is charged
// once, and all sites have the model that was published.
TEST(CrashMatrixPrivacy, ARoundIsChargedOnce) {
  RunOptions options = Options("off");
  options.update.error_feedback = false;
  options.update.weighting = "equal";
  options.update.clip_norm = 1;
  options.privacy.mechanism = "central";
  options.privacy.epsilon_budget = 1000;
  const Sound sound = Undisturbed(options);
  ASSERT_FALSE(HasFailure());
  const int runs = Share(4);
  for (int run = 0; run < runs; ++run) {
    SCOPED_TRACE(absl::StrCat("run ", run));
    Troubles troubles;
    troubles.seed = run + 1;
    troubles.aggregator.push_back(
        {.at = 1 + sound.steps * run / runs, .with_effect = run % 2 == 0, .power = run % 3 == 0});
    CrashWorld world(kSites, options);
    const WorldOutcome outcome = world.Run(troubles);
    ExpectSound(outcome);
    if (HasFailure()) return;
    ExpectEachCountedOnce(outcome, false);
  }
}

}  // namespace
}  // namespace ds::federated

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (!absl::ConsumePrefix(&argument, "--runs=") ||
        !absl::SimpleAtoi(argument, &ds::federated::total_runs) || ds::federated::total_runs < 1) {
      std::fprintf(stderr, "usage: %s [--runs=N]\n", argv[0]);
      return 2;
    }
  }
  return RUN_ALL_TESTS();
}
