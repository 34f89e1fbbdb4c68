// Agents and the aggregator as they are, in one process, under secure aggregation: what a killed
// site does with its masks, and whom a site refuses.
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/agent/federation.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

RunOptions Secure(const std::string& mode) {
  RunOptions options = Federation::FourRounds();
  options.round.rounds = 3;
  options.round.minimum = 3;
  options.secure.mode = mode;
  options.secure.rounds_a_setup = 2;  // so that there is a second set-up
  return options;
}

std::string EndOf(Federation& federation, CrashPoint* crash) {
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  const auto reports = federation.Run(*aggregator, crash);
  for (const auto& report : reports) {
    EXPECT_TRUE(report.ok()) << report.status();
    if (report.ok()) {
      EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
      EXPECT_EQ(report->model_digest, reports[1]->model_digest);
    }
  }
  return reports[1].ok() ? reports[1]->model_digest : "";
}

class SecureAgentsTest : public ::testing::TestWithParam<std::string> {};

TEST_P(SecureAgentsTest, KilledAtEachStepASiteEndsAtTheOpenSum) {
  Federation open(4, Secure("off"));
  const std::string sound = EndOf(open, nullptr);
  bool through = false;
  int at = 1;
  for (; !through && !HasFailure(); ++at) {
    for (const bool with_effect : {false, true}) {
      SCOPED_TRACE(absl::StrCat("step ", at, with_effect ? ", with its effect" : ""));
      Federation federation(4, Secure(GetParam()));
      CrashPoint crash;
      crash.at = at;
      crash.with_effect = with_effect;
      const absl::Time began = absl::Now();
      EXPECT_EQ(EndOf(federation, &crash), sound);
      fprintf(stderr, "step %d %d: %.2f\n", at, with_effect, absl::ToDoubleSeconds(absl::Now() - began));
      through = !crash.dead;
    }
  }
  EXPECT_GE(at, 40) << "the process has more steps than that";
}

INSTANTIATE_TEST_SUITE_P(Modes, SecureAgentsTest, ::testing::Values("on", "strict"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace ds::federated
