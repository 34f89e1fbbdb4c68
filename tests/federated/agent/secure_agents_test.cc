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

// The digest at which all sites have ended.
std::string EndOf(Federation& federation, CrashPoint* crash) {
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  const auto reports = federation.Run(*aggregator, crash);
  for (size_t i = 0; i < reports.size(); ++i) {
    // A site that was killed as its last act does not join the same run again.
    if (i == 0 && crash != nullptr && crash->dead &&
        absl::IsFailedPrecondition(reports[i].status())) {
      EXPECT_THAT(std::string(reports[i].status().message()), HasSubstr("has ended at this site"));
      continue;
    }
    EXPECT_TRUE(reports[i].ok()) << reports[i].status();
    if (!reports[i].ok()) return "";
    EXPECT_EQ(reports[i]->end, EndState::kFinished) << reports[i]->reason;
    EXPECT_EQ(reports[i]->model_digest, reports[1]->model_digest);
  }
  return reports[1]->model_digest;
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
      EXPECT_EQ(EndOf(federation, &crash), sound);
      through = !crash.dead;
    }
  }
  EXPECT_GE(at, 40) << "the process has more steps than that";
}

INSTANTIATE_TEST_SUITE_P(Modes, SecureAgentsTest, ::testing::Values("on", "strict"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace ds::federated
