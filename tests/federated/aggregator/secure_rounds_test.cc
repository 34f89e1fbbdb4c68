// Rounds under secure aggregation with real agents of it: sums, dropouts in every phase, set-ups.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "tests/federated/aggregator/aggregator_fixture.h"
#include "tests/federated/aggregator/secure_site.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

class SecureRounds : public AggregatorTest {
 protected:
  SecureRounds() {
    options_.identity = std::make_shared<TestIdentity>("aggregator", authority_);
    run().round = {.rounds = 3, .wait_for = 5, .deadline_s = 0.4, .unmask_deadline_s = 0.4};
    run().update.bits = 4;
    run().secure = {.mode = "on", .rounds_a_setup = 2, .colluders = 1, .least_difference = 0};
  }
  void MakeSecureSites(int count) {
    for (int i = 0; i < count; ++i) {
      sites_.push_back(
          std::make_unique<SecureSite>(*aggregator_, absl::StrCat("site-", i), authority_));
    }
  }
  void Start() {
    for (auto& site : sites_) site->JoinAndStart();
  }
  // Nobody but those named complained, and all who were there to the end have the last version.
  void ExpectWell(int64_t version, const std::set<std::string>& but = {}) {
    for (auto& site : sites_) {
      site->Stop();
      if (but.contains(site->name())) continue;
      EXPECT_EQ(site->failure(), "");
      EXPECT_EQ(site->version(), version) << site->name();
    }
  }
  // The model that the same updates give without masks.
  std::vector<float> InTheOpen() {
    const auto store = std::exchange(store_, MemoryStore());
    const auto told = std::exchange(told_, std::make_shared<Told>());
    const RunOptions options = run();
    run().secure.mode = "off";
    options_.observer = told_;
    OpenAggregator();
    auto sites = MakeSites(5);
    for (auto& site : sites) site->JoinAndStart();
    EXPECT_EQ(End().state, EndState::kFinished);
    for (auto& site : sites) site->Stop();
    aggregator_.reset();
    store_ = store;
    options_.observer = told;
    run() = options;
    return std::exchange(told_, told)->weights();
  }

  std::shared_ptr<TestAuthority> authority_ = std::make_shared<TestAuthority>();
  std::vector<std::unique_ptr<SecureSite>> sites_;
};

TEST_F(SecureRounds, GiveTheSameModelAsRoundsInTheOpen) {
  const std::vector<float> open = InTheOpen();
  OpenAggregator();
  MakeSecureSites(5);
  Start();
  EXPECT_EQ(End().state, EndState::kFinished);
  ExpectWell(3);
  EXPECT_EQ(told_->weights(), open);
}

TEST_F(SecureRounds, StrictRoundsToo) {
  run().secure.mode = "strict";
  OpenAggregator();
  MakeSecureSites(5);
  Start();
  EXPECT_EQ(End().state, EndState::kFinished);
  ExpectWell(3);
}

// Answers beyond the threshold come when the round goes on already.
TEST_F(SecureRounds, PayloadsThatCameTooLateAreNotKept) {
  run().round.rounds = 6;
  options_.inline_bytes = 0;  // each payload is a blob
  OpenAggregator();
  MakeSecureSites(5);
  Start();
  EXPECT_EQ(End().state, EndState::kFinished);
  ExpectWell(6);
  std::set<std::string> named = {options_.offer.model};
  for (const Record& record : Log()) {
    if (const auto* given = std::get_if<SecureGiven>(&record))
      named.insert(given->payload.digest);
    else if (const auto* published = std::get_if<RoundPublished>(&record))
      named.insert(published->published.digest);
    else if (const auto* taken = std::get_if<SnapshotTaken>(&record))
      named.insert(taken->blob.digest);
  }
  const auto blobs = store_->Blobs();
  ASSERT_TRUE(blobs.ok());
  for (const std::string& blob : *blobs) EXPECT_TRUE(named.contains(blob)) << blob;
}

TEST_F(SecureRounds, DropoutsInEveryPhaseAreBorne) {
  run().round.rounds = 4;
  for (const Silent phase : {Silent::kKeys, Silent::kShares, Silent::kUpload, Silent::kAnswer}) {
    SCOPED_TRACE(static_cast<int>(phase));
    sites_.clear();
    store_ = MemoryStore();
    OpenAggregator();
    MakeSecureSites(5);
    sites_[2]->SilentFrom(phase, 0);
    Start();
    EXPECT_EQ(End().state, EndState::kFinished);
    ExpectWell(4, {"site-2"});
    sites_.clear();
    aggregator_.reset();
  }
}

// In the last round of a set-up a site falls silent: in the next one it gives no keys, or keys and
// no shares. The round costs its deadline as without that set-up, and the next rounds go on.
TEST_F(SecureRounds, ASiteThatLeavesDuringTheSetupBesideARoundIsNotInIt) {
  run().round.rounds = 4;
  for (const Silent phase : {Silent::kKeys, Silent::kShares}) {
    SCOPED_TRACE(static_cast<int>(phase));
    sites_.clear();
    store_ = MemoryStore();
    OpenAggregator();
    MakeSecureSites(5);
    sites_[2]->SilentFrom(phase, 1);
    Start();
    EXPECT_EQ(End().state, EndState::kFinished);
    ExpectWell(4, {"site-2"});
    bool beside = false;
    for (const Record& record : Log()) {
      EXPECT_FALSE(std::holds_alternative<RoundAbandoned>(record));
      if (const auto* published = std::get_if<RoundPublished>(&record)) {
        EXPECT_EQ(published->sites, published->round == 0 ? 5 : 4);
      } else if (const auto* closed = std::get_if<SharesClosed>(&record); closed != nullptr) {
        EXPECT_EQ(closed->sites.size(), closed->epoch == 0 ? 5u : 4u);
      } else if (const auto* plan = std::get_if<RoundPlanned>(&record)) {
        beside = plan->round == 1;
      } else if (const auto* started = std::get_if<SetupStarted>(&record)) {
        EXPECT_EQ(beside, started->epoch > 0) << "of set-up " << started->epoch;
      }
    }
    sites_.clear();
    aggregator_.reset();
  }
}

// Not only when their masks' round begins.
TEST_F(SecureRounds, InboxesAreOpenedBesideTheRound) {
  run().round.deadline_s = 1;  // that the second round takes, since one site sends nothing
  OpenAggregator();
  MakeSecureSites(5);
  sites_[4]->SilentFrom(Silent::kUpload, 1);
  Start();
  const Deadline deadline = Deadline::In(absl::Seconds(20));
  const auto ready = [this] {
    return std::all_of(sites_.begin(), sites_.begin() + 4,
                       [](const auto& site) { return site->IsReady(1); });
  };
  while (!ready() && !deadline.IsPast()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_TRUE(ready());
  int plans = 0;
  for (const Record& record : Log()) plans += std::holds_alternative<RoundPlanned>(record);
  EXPECT_EQ(plans, 2) << "round 1 was over before the next set-up was complete";
  EXPECT_EQ(End().state, EndState::kFinished);
  ExpectWell(3);
}

TEST_F(SecureRounds, OneDropoutTooManyAbandonsTheRoundAndNothingIsPublished) {
  run().round.abandoned_in_a_row = 1;
  OpenAggregator();
  MakeSecureSites(5);
  sites_[1]->SilentFrom(Silent::kUpload, 0);
  sites_[3]->SilentFrom(Silent::kUpload, 0);  // 3 of 5 left, the threshold is 4
  Start();
  const RunEnded end = End();
  EXPECT_EQ(end.state, EndState::kFailed);
  EXPECT_THAT(end.reason, HasSubstr("missing: site-1, site-3"));
  for (const Record& record : Log()) {
    EXPECT_FALSE(std::holds_alternative<RoundPublished>(record));
    EXPECT_FALSE(std::holds_alternative<SurvivorsFixed>(record));
  }
}

TEST_F(SecureRounds, TooFewAnswersEndTheRunWithTheLastGoodModel) {
  run().round.abandoned_in_a_row = 2;
  OpenAggregator();
  MakeSecureSites(5);
  sites_[1]->SilentFrom(Silent::kAnswer, 1);
  sites_[3]->SilentFrom(Silent::kAnswer, 1);
  Start();
  const RunEnded end = End();
  EXPECT_EQ(end.state, EndState::kFailed);
  EXPECT_THAT(end.reason, HasSubstr("version 1 is the last"));
  EXPECT_THAT(end.reason, HasSubstr("missing: site-1, site-3"));
}

TEST_F(SecureRounds, WhoJoinsLateIsInTheNextSetup) {
  run().round.rounds = 6;
  run().round.wait_for = 4;
  options_.maximum_sites = 8;
  OpenAggregator();
  MakeSecureSites(5);
  for (int i = 0; i < 4; ++i) sites_[i]->JoinAndStart();
  sites_[0]->Await([](const Situation& s) { return s.version >= 1; });
  sites_[4]->JoinAndStart();
  EXPECT_EQ(End().state, EndState::kFinished);
  ExpectWell(6);
  EXPECT_EQ(told_->rounds().back().counted.size(), 5u);
}

}  // namespace
}  // namespace ds::federated
