// Rounds in the open, from the first join to the end.
#include <gmock/gmock.h>

#include "tests/federated/aggregator/aggregator_fixture.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(AggregatorTest, PublishesItsRoundsAndEveryPartyHasTheSameModel) {
  run().round.wait_for = 4;
  OpenAggregator();
  auto sites = MakeSites(4);
  for (auto& site : sites) site->JoinAndStart();
  EXPECT_EQ(End().state, EndState::kFinished);
  for (auto& site : sites) {
    site->Stop();
    EXPECT_EQ(site->failure(), "");
    EXPECT_EQ(site->version(), 3) << site->name();
  }
  const std::vector<RoundReport> rounds = told_->rounds();
  ASSERT_EQ(rounds.size(), 3u);
  for (const RoundReport& round : rounds) {
    EXPECT_TRUE(round.published);
    EXPECT_EQ(round.sites, 4);
    EXPECT_EQ(round.metrics.samples, 400);
    EXPECT_EQ(round.counted.size(), 4u);
  }
  EXPECT_EQ(told_->weights().size(), 40u);
}

TEST_F(AggregatorTest, AMissingSiteCostsOneDeadlineAndIsNamed) {
  run().round = {.rounds = 2, .wait_for = 3, .deadline_s = 0.5};
  OpenAggregator();
  auto sites = MakeSites(3);
  ASSERT_TRUE(sites[2]->Join().ok());
  sites[2]->Watch();  // and trains nothing
  sites[0]->JoinAndStart();
  sites[1]->JoinAndStart();
  sites[2]->Await([](const Situation& s) { return s.phase == Phase::kCollect; });
  sites[2]->Disconnect();
  EXPECT_EQ(End().state, EndState::kFinished);
  const std::vector<RoundReport> rounds = told_->rounds();
  ASSERT_EQ(rounds.size(), 2u);
  EXPECT_THAT(rounds[0].missing, ElementsAre("site-2"));
  EXPECT_GT(rounds[0].seconds, 0.4);
  EXPECT_TRUE(rounds[1].missing.empty());
  EXPECT_LT(rounds[1].seconds, 0.4);
}

TEST_F(AggregatorTest, AStopEndsTheRunWithItsRound) {
  run().round.rounds = 1000000;
  OpenAggregator();
  auto sites = MakeSites(1);
  sites[0]->JoinAndStart();
  sites[0]->Await([](const Situation& s) { return s.version >= 2; });
  ASSERT_TRUE(aggregator_->Stop("the operator's wish").ok());
  const RunEnded end = End();
  EXPECT_EQ(end.state, EndState::kStopped);
  EXPECT_EQ(end.reason, "the operator's wish");
  EXPECT_FALSE(told_->weights().empty());
}

TEST_F(AggregatorTest, UpdatesBeyondTheLogsOwnSizeLieInTheStoreUntilTheyAreCounted) {
  options_.inline_bytes = 0;
  run().round.rounds = 20;
  OpenAggregator();
  auto sites = MakeSites(2);
  for (auto& site : sites) site->JoinAndStart();
  EXPECT_EQ(End().state, EndState::kFinished);
  for (auto& site : sites) {
    site->Stop();
    EXPECT_EQ(site->failure(), "");
  }
  // The last publications and one snapshot; no update.
  const auto blobs = store_->Blobs();
  ASSERT_TRUE(blobs.ok());
  EXPECT_LE(blobs->size(), 9u);
  EXPECT_GE(blobs->size(), 2u);
}

TEST_F(AggregatorTest, EqualUpdatesOfTwoSitesBothCount) {
  options_.inline_bytes = 0;
  run().round = {.rounds = 1, .wait_for = 2};
  OpenAggregator();
  auto sites = MakeSites(2);
  for (auto& site : sites) {
    ASSERT_TRUE(site->Join().ok());
    site->Watch();
  }
  const auto collects = [](const Situation& s) {
    return s.phase == Phase::kCollect && s.plan.selected;
  };
  const Situation situation = sites[0]->Await(collects);
  sites[1]->Await(collects);
  const auto update = sites[0]->MakeUpdate(situation);
  ASSERT_TRUE(update.ok()) << update.status();
  for (auto& site : sites) {
    // Nobody learns from the aggregator what another one has sent.
    EXPECT_EQ(*aggregator_->UploadStatus(site->caller(), Sha256Hex(*update), update->size()), 0);
    ASSERT_TRUE(site->Send(*update).ok());
    const auto reply = site->CommitUpdate(situation, *update);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_TRUE(reply->counted) << reply->reason;
  }
  EXPECT_EQ(End().state, EndState::kFinished);
  EXPECT_EQ(told_->rounds()[0].sites, 2);
}

TEST_F(AggregatorTest, FedBuffPublishesWhateverComes) {
  run().round.rounds = 10;
  run().strategy = {.name = "fedbuff", .buffer = 3, .max_staleness = 10};
  OpenAggregator();
  auto sites = MakeSites(2);
  for (auto& site : sites) site->JoinAndStart();
  EXPECT_EQ(End().state, EndState::kFinished);
  for (auto& site : sites) {
    site->Stop();
    EXPECT_EQ(site->failure(), "");
  }
  for (const RoundReport& round : told_->rounds()) EXPECT_EQ(round.sites, 3);
}

TEST_F(AggregatorTest, WhatAKillLeftInTheStoreGoesInAsynchronousRunsToo) {
  run().round.rounds = 4;
  run().strategy = {.name = "fedbuff", .buffer = 2, .max_staleness = 4};
  const auto left = PutBlob(*store_, absl::MakeConstSpan(std::vector<std::byte>(100)));
  ASSERT_TRUE(left.ok()) << left.status();
  OpenAggregator();
  auto sites = MakeSites(2);
  for (auto& site : sites) site->JoinAndStart();
  EXPECT_EQ(End().state, EndState::kFinished);
  for (auto& site : sites) site->Stop();
  EXPECT_FALSE(store_->Has(*left));
}

}  // namespace
}  // namespace ds::federated
