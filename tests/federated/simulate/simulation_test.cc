#include "federated/simulate/simulation.h"

#include "gtest/gtest.h"
#include "tests/support/sanitized.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {
namespace {

SimulationOptions Small(const TempFolder& folder, int64_t sites, int64_t rounds) {
  SimulationOptions options;
  options.sites = sites;
  options.run.round.rounds = rounds;
  options.run.update.bits = 4;
  options.run.update.weighting = "equal";
  options.problem.parameters = 64;
  options.folder = folder.path();
  options.patience = kTimesSlower * absl::Seconds(60);
  return options;
}

void ExpectFinished(const absl::StatusOr<SimulationReport>& report,
                    const SimulationOptions& options) {
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
  EXPECT_EQ(report->version, options.run.round.rounds);
  EXPECT_EQ(report->agreeing, options.sites);
}

TEST(SimulationTest, AThousandSitesLearnTheirMeanWithinTwentySeconds) {
  const TempFolder folder;
  // A sanitizer sees no more in a thousand than in a hundred.
  const SimulationOptions options = Small(folder, kSanitized ? 100 : 1000, 15);
  const auto report = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(report, options));
  // The grid begins without an idea of the scale; then each round goes half of what is left.
  EXPECT_LT(report->distance, 0.05);
  for (const RoundReport& round : report->rounds)
    EXPECT_EQ(static_cast<int64_t>(round.counted.size()), options.sites);
  if (!kSanitized) {
    EXPECT_LT(report->seconds, 20);
  }
  RecordProperty("seconds", std::to_string(report->seconds));
}

// The same run over sound links and over bad ones.
TEST(SimulationTest, BadLinksChangeNothing) {
  const TempFolder folder, other;
  SimulationOptions options = Small(folder, 40, 4);
  options.run.strategy.name = "scaffold";
  const auto sound = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(sound, options));
  options.folder = other.path();
  options.faults = {
      .lose_request = 0.1, .lose_reply = 0.1, .duplicate = 0.3, .replay = 0.3, .cut_upload = 0.3};
  const auto bad = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(bad, options));
  EXPECT_EQ(sound->model_digest, bad->model_digest);
}

TEST(SimulationTest, SecureSumsAreTheOpenOnes) {
  const TempFolder folder, other;
  SimulationOptions options = Small(folder, 24, 4);
  options.run.round.minimum = 16;
  const auto open = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(open, options));
  options.folder = other.path();
  options.run.secure.mode = "on";
  options.run.secure.rounds_a_setup = 2;
  options.faults = {.lose_request = 0.05, .lose_reply = 0.05, .duplicate = 0.2, .replay = 0.2};
  const auto secure = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(secure, options));
  EXPECT_EQ(open->model_digest, secure->model_digest);
}

// From 256 sites on each one has neighbours, not everybody, drawn from nonces that are opened only
// then. Rounds go without those who are too late, and some never come.
TEST(SimulationTest, MoreSecureSitesThanSharesHavePoints) {
  if (kSanitized) GTEST_SKIP() << "minutes of cryptography under a sanitizer; 24 sites run there";
  const TempFolder folder;
  SimulationOptions options = Small(folder, 260, 3);
  options.run.round.goal = 240;
  options.run.round.spare = 20;
  options.run.round.minimum = 140;
  options.run.secure.mode = "on";
  options.run.secure.rounds_a_setup = 2;  // there is a second set-up, beside the second round
  options.absent = 0.03;
  options.patience = absl::Seconds(200);
  const auto report = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(report, options));
  ASSERT_EQ(report->rounds.size(), 3u);
  for (const RoundReport& round : report->rounds) {
    EXPECT_TRUE(round.published) << round.reason;
    EXPECT_GE(round.counted.size(), 240u) << round.round;
    EXPECT_LT(round.counted.size(), 260u) << round.round;
    EXPECT_EQ(round.counted.size() + round.missing.size(), 260u) << round.round;
  }
  // Halved three times at the most, less what the grid does not know yet.
  EXPECT_LT(report->distance, 1);
  RecordProperty("seconds", std::to_string(report->seconds));
}

TEST(SimulationTest, AbsentSitesCostNoMoreThanTheDeadline) {
  const TempFolder folder;
  SimulationOptions options = Small(folder, 50, 4);
  options.absent = 0.2;
  options.run.round.minimum = 20;
  options.run.round.deadline_s = 0.3 * kTimesSlower;
  const auto report = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(report, options));
  bool any_missing = false;
  for (const RoundReport& round : report->rounds) {
    EXPECT_EQ(round.counted.size() + round.missing.size(), 50u);
    any_missing = any_missing || !round.missing.empty();
  }
  EXPECT_TRUE(any_missing);
}

TEST(SimulationTest, SitesUpdateWithoutRoundsWhereTheStrategyIsAsynchronous) {
  const TempFolder folder;
  SimulationOptions options = Small(folder, 20, 20);
  options.run.strategy.name = "fedbuff";
  options.run.strategy.buffer = 5;
  const auto report = RunSimulation(options);
  ASSERT_NO_FATAL_FAILURE(ExpectFinished(report, options));
}

TEST(SimulationTest, OptionsThatMakeNoSenseAreNamed) {
  const TempFolder folder;
  SimulationOptions options = Small(folder, 0, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(RunSimulation(options).status()));
  options = Small(folder, 5, 1);
  options.run.strategy.name = "krum";
  options.run.secure.mode = "on";
  EXPECT_TRUE(absl::IsInvalidArgument(RunSimulation(options).status()));
}

}  // namespace
}  // namespace ds::federated
