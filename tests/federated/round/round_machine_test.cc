// Rounds in the open: who is selected, when a round ends and how, by a clock that a test turns.
#include "federated/round/round_machine.h"

#include <gmock/gmock.h>

#include "federated/round/selection.h"
#include "tests/federated/round/machine_driver.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(RoundMachine, WaitsForItsFirstSitesAndGivesUpInTheEnd) {
  RunOffer offer = TestOffer();
  offer.options.round.wait_for = 2;
  MachineDriver driver(offer, {.first_sites = absl::Hours(1)});
  driver.Join(0, 0);
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kWaiting);
  driver.Pass(absl::Minutes(59));
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kWaiting);
  driver.Pass(absl::Minutes(2));
  driver.Run();
  EXPECT_EQ(driver.machine().end(), EndState::kFailed);
  EXPECT_THAT(driver.machine().last_reason(), HasSubstr("only 1 site of 2"));
}

TEST(RoundMachine, PublishesItsRoundsAndFinishes) {
  MachineDriver driver(TestOffer(3));
  driver.Join(0, 0);
  for (int version = 0; version < 3; ++version) {
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kCollect);
    EXPECT_EQ(driver.machine().round().round, version);
    ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kPublish);
    driver.Publish();
  }
  driver.Run();
  EXPECT_EQ(driver.machine().end(), EndState::kFinished);
  EXPECT_EQ(driver.Replayed().end(), EndState::kFinished);
}

TEST(RoundMachine, TheGoalEndsARoundAndSparesAreSelectedBeyondIt) {
  RunOffer offer = TestOffer();
  offer.options.round = {.rounds = 3, .goal = 2, .minimum = 1, .wait_for = 6, .spare = 1};
  MachineDriver driver(offer);
  driver.Join(0, 5);
  driver.Run();
  const std::vector<std::string> selected = driver.machine().round().selected;
  ASSERT_EQ(selected.size(), 3u);
  ASSERT_TRUE(driver.Commit(selected[2]).ok());
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kCollect);
  ASSERT_TRUE(driver.Commit(selected[0]).ok());
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kPublish);
  EXPECT_THAT(driver.machine().round().survivors, ElementsAre(selected[0], selected[2]));
  // The third comes too late and changes nothing.
  EXPECT_EQ(driver.Commit(selected[1]).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(driver.machine().round().survivors.size(), 2u);
}

TEST(RoundMachine, AMissingSiteCostsTheDeadlineOfOneRoundAndIsNamed) {
  RunOffer offer = TestOffer();
  offer.options.round = {.rounds = 2, .minimum = 2, .wait_for = 3, .deadline_s = 100};
  MachineDriver driver(offer);
  driver.Join(0, 2);
  driver.Run();
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  ASSERT_TRUE(driver.Commit(SiteName(2)).ok());
  driver.present().erase(SiteName(1));
  EXPECT_EQ(driver.Run().ask_again, absl::Seconds(1100));
  EXPECT_THAT(driver.machine().Missing(), ElementsAre(SiteName(1)));
  driver.Pass(absl::Seconds(100));
  driver.Run();
  EXPECT_THAT(driver.machine().round().survivors, ElementsAre(SiteName(0), SiteName(2)));
  driver.Publish();
  driver.Run();
  // The next round goes on without it at once.
  EXPECT_THAT(driver.machine().round().selected, ElementsAre(SiteName(0), SiteName(2)));
}

TEST(RoundMachine, RoundsWithTooFewUpdatesAreAbandonedAndThenTheRunEnds) {
  RunOffer offer = TestOffer();
  offer.options.round = {
      .rounds = 2, .minimum = 2, .wait_for = 2, .deadline_s = 10, .abandoned_in_a_row = 2};
  MachineDriver driver(offer);
  driver.Join(0, 1);
  driver.Run();
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  driver.Pass(absl::Seconds(10));
  driver.Run();
  EXPECT_EQ(driver.machine().round().round, 1);
  EXPECT_EQ(driver.machine().version(), 0);
  EXPECT_TRUE(driver.machine().updates().empty()) << "an update of the abandoned round is left";
  driver.Pass(absl::Seconds(10));
  driver.Run();
  EXPECT_EQ(driver.machine().end(), EndState::kFailed);
  ASSERT_EQ(driver.Abandoned().size(), 2u);
  EXPECT_THAT(driver.Abandoned()[0], HasSubstr("1 update of at least 2"));
  EXPECT_THAT(driver.Abandoned()[0], HasSubstr("missing: site-01"));
  EXPECT_THAT(driver.machine().last_reason(), HasSubstr("missing: site-00, site-01"));
}

TEST(RoundMachine, APublishedRoundForgivesTheAbandonedOnes) {
  RunOffer offer = TestOffer(5);
  offer.options.round.deadline_s = 10;
  offer.options.round.abandoned_in_a_row = 2;
  MachineDriver driver(offer);
  driver.Join(0, 0);
  for (int i = 0; i < 4; ++i) {
    driver.Run();
    driver.Pass(absl::Seconds(10));
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kCollect) << i;
    ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
    driver.Run();
    driver.Publish();
  }
  EXPECT_EQ(driver.machine().version(), 4);
}

TEST(RoundMachine, NobodyThereIsAnAbandonedRoundToo) {
  RunOffer offer = TestOffer();
  offer.options.round.deadline_s = 10;
  MachineDriver driver(offer);
  driver.Join(0, 0);
  driver.Run();
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  driver.Run();
  driver.Publish();
  driver.present().clear();
  for (int i = 0; i < 3; ++i) {
    driver.Run();
    EXPECT_EQ(driver.machine().stage(), Stage::kIdle);
    driver.Pass(absl::Seconds(10));
  }
  driver.Run();
  EXPECT_EQ(driver.machine().end(), EndState::kFailed);
  EXPECT_THAT(driver.Abandoned()[0], HasSubstr("away: site-00"));
}

TEST(RoundMachine, LateJoinersEnterTheNextRound) {
  MachineDriver driver(TestOffer());
  driver.Join(0, 0);
  driver.Run();
  driver.Join(1, 1);
  driver.Run();
  EXPECT_THAT(driver.machine().round().selected, ElementsAre(SiteName(0)));
  EXPECT_FALSE(driver.Commit(SiteName(1)).ok());
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  driver.Run();
  driver.Publish();
  driver.Run();
  EXPECT_THAT(driver.machine().round().selected, ElementsAre(SiteName(0), SiteName(1)));
}

TEST(RoundMachine, SitesOfTheLastRoundAreGivenAMomentToComeBack) {
  RunOffer offer = TestOffer();
  offer.options.round.wait_for = 2;
  MachineDriver driver(offer);
  driver.Join(0, 1);
  driver.Run();
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  ASSERT_TRUE(driver.Commit(SiteName(1)).ok());
  driver.Run();
  driver.present().erase(SiteName(1));
  driver.Publish();
  EXPECT_EQ(driver.Run().ask_again, absl::Seconds(1002));
  EXPECT_EQ(driver.machine().stage(), Stage::kIdle);
  driver.present().insert(SiteName(1));
  driver.Run();
  EXPECT_EQ(driver.machine().round().selected.size(), 2u);
}

TEST(RoundMachine, AfterARestartAllSitesAreGivenAMomentToComeBack) {
  RunOffer offer = TestOffer();
  offer.options.round.wait_for = 3;
  MachineDriver driver(offer);
  driver.Join(0, 2);
  driver.Run();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  driver.Publish();
  RoundMachine machine = driver.Replayed();
  EXPECT_EQ(machine.Decide(absl::Seconds(5), {SiteName(1)}).ask_again, absl::Seconds(7));
  const Decision decision = machine.Decide(absl::Seconds(7), {SiteName(1)});
  ASSERT_TRUE(decision.record.has_value());
  EXPECT_THAT(std::get<RoundPlanned>(*decision.record).selected, ElementsAre(SiteName(1)));
}

TEST(RoundMachine, AStopEndsTheRunWithItsRound) {
  MachineDriver driver(TestOffer());
  driver.Join(0, 0);
  driver.Run();
  driver.Must(StopAsked{"the operator's wish"});
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kCollect);
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  driver.Run();
  driver.Publish();
  driver.Run();
  EXPECT_EQ(driver.machine().end(), EndState::kStopped);
  EXPECT_EQ(driver.machine().version(), 1);
  EXPECT_EQ(driver.machine().last_reason(), "the operator's wish");
}

TEST(RoundMachine, RefusesUpdatesThatAreNotTheRounds) {
  MachineDriver driver(TestOffer());
  driver.Join(0, 1);
  driver.Run();
  const BlobRef blob{.digest = TestDigest(5), .size = 5};
  EXPECT_FALSE(driver.Apply(UpdateCommitted{1, SiteName(0), 0, blob}).ok());  // round
  EXPECT_FALSE(driver.Apply(UpdateCommitted{0, SiteName(0), 1, blob}).ok());  // version
  EXPECT_FALSE(driver.Apply(UpdateCommitted{0, "stranger", 0, blob}).ok());   // site
  EXPECT_FALSE(
      driver.Apply(UpdateCommitted{0, SiteName(0), 0, {.digest = "", .size = 5, .bytes = "x"}})
          .ok());
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  EXPECT_EQ(driver.Commit(SiteName(0)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(driver.machine().updates().size(), 1u);
}

TEST(RoundMachine, NothingFollowsTheEndButASnapshot) {
  MachineDriver driver(TestOffer());
  driver.Join(0, 0);
  driver.Run();
  driver.Must(RunEnded{EndState::kStopped, "stopped"});
  EXPECT_FALSE(driver.Apply(SiteJoined{SiteName(3), 1}).ok());
  EXPECT_FALSE(driver.Apply(RunEnded{EndState::kStopped, "again"}).ok());
  EXPECT_FALSE(driver.Apply(RunStarted{TestOffer()}).ok());
  EXPECT_TRUE(driver.Apply(SnapshotTaken{0, {.digest = TestDigest(1), .size = 1}}).ok());
}

TEST(Selection, IsAFunctionOfItsArgumentsAndTakesEverySite) {
  std::vector<std::string> sites;
  for (int i = 0; i < 10; ++i) sites.push_back(SiteName(i));
  std::set<std::string> seen;
  int differ = 0;
  for (int64_t round = 0; round < 50; ++round) {
    const auto chosen = SelectSites(7, round, sites, 3);
    EXPECT_EQ(chosen, SelectSites(7, round, sites, 3));
    ASSERT_EQ(chosen.size(), 3u);
    EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
    EXPECT_NE(chosen[0], chosen[1]);
    EXPECT_NE(chosen[1], chosen[2]);
    differ += chosen != SelectSites(8, round, sites, 3);
    seen.insert(chosen.begin(), chosen.end());
  }
  EXPECT_EQ(seen.size(), 10u);
  EXPECT_GT(differ, 40);
  EXPECT_EQ(SelectSites(7, 0, sites, 99), sites);
  EXPECT_TRUE(SelectSites(7, 0, {}, 3).empty());
}

TEST(Selection, SizesFollowGoalSpareSampleAndBounds) {
  EXPECT_EQ(SelectionSize({}, 10, 16), 10);
  EXPECT_EQ(SelectionSize({}, 20, 16), 16);
  EXPECT_EQ(SelectionSize({.sample = 0.25}, 10, 16), 3);
  EXPECT_EQ(SelectionSize({.minimum = 4, .sample = 0.1}, 10, 16), 4);
  EXPECT_EQ(SelectionSize({.minimum = 4, .sample = 0.1}, 3, 16), 3);
  EXPECT_EQ(SelectionSize({.goal = 4, .spare = 2}, 10, 16), 6);
  EXPECT_EQ(SelectionSize({.goal = 8, .sample = 0.5}, 10, 16), 5);
}

}  // namespace
}  // namespace ds::federated
