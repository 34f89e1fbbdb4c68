#include "federated/simulate/simulation.h"

#include "gtest/gtest.h"
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
  options.patience = absl::Seconds(60);
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
  const SimulationOptions options = Small(folder, 1000, 15);
  const auto report = RunSimulation(options);
  ExpectFinished(report, options);
  // The grid begins without an idea of the scale; then each round goes half of what is left.
  EXPECT_LT(report->distance, 0.05);
  for (const RoundReport& round : report->rounds) EXPECT_EQ(round.counted.size(), 1000u);
  EXPECT_LT(report->seconds, 20);
  RecordProperty("seconds", std::to_string(report->seconds));
}

}  // namespace
}  // namespace ds::federated
