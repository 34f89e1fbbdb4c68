// The ledger is charged with each release, before it, and the budget ends the run.
#include <gmock/gmock.h>

#include "federated/privacy/ledger.h"
#include "tests/federated/aggregator/aggregator_fixture.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

class Privacy : public AggregatorTest {
 protected:
  Privacy() {
    run().round = {.rounds = 1000, .wait_for = 2};
    run().update.clip_norm = 1;
    run().update.error_feedback = false;
    run().update.weighting = "equal";
    run().privacy = {.mechanism = "central", .noise_multiplier = 4, .epsilon_budget = 2};
  }
};

TEST_F(Privacy, ARunOverItsBudgetStopsWithTheLastGoodModel) {
  OpenAggregator();
  auto sites = MakeSites(2);
  for (auto& site : sites) site->JoinAndStart();
  const RunEnded end = End();
  EXPECT_EQ(end.state, EndState::kBudgetSpent) << end.reason;
  for (auto& site : sites) {
    site->Stop();
    EXPECT_EQ(site->failure(), "");
  }
  const std::vector<RoundReport> rounds = told_->rounds();
  ASSERT_GT(rounds.size(), 1u);
  for (size_t i = 1; i < rounds.size(); ++i) EXPECT_GT(rounds[i].epsilon, rounds[i - 1].epsilon);
  EXPECT_LE(rounds.back().epsilon, 2);
  EXPECT_EQ(sites[0]->version(), static_cast<int64_t>(rounds.size()));
  // Each release is charged right before it is let out.
  const std::vector<Record> log = Log();
  for (size_t i = 0; i < log.size(); ++i) {
    if (!std::holds_alternative<RoundPublished>(log[i])) continue;
    EXPECT_TRUE(std::holds_alternative<PrivacyCharged>(log[i - 1]));
  }
}

TEST_F(Privacy, WhatWasSpentIsSpentAfterARestart) {
  OpenAggregator();
  {
    auto sites = MakeSites(2);
    for (auto& site : sites) site->JoinAndStart();
    sites[0]->Await([](const Situation& s) { return s.version >= 2; });
    for (auto& site : sites) site->Stop();
  }
  const double spent = aggregator_->Report()->epsilon;
  EXPECT_GT(spent, 0);
  OpenAggregator();
  EXPECT_GE(aggregator_->Report()->epsilon, spent);
}

}  // namespace
}  // namespace ds::federated
