// Rounds under secure aggregation: set-ups, survivors, unmasking, and what ends each of them.
#include <gmock/gmock.h>

#include "federated/round/round_machine.h"
#include "tests/federated/round/machine_driver.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SecureMachine : public ::testing::Test {
 protected:
  static RunOffer Offer(const std::string& mode = "on") {
    RunOffer offer = TestOffer(6);
    offer.options.round.wait_for = 4;
    offer.options.round.deadline_s = 100;
    offer.options.round.unmask_deadline_s = 10;
    offer.options.secure.mode = mode;
    offer.options.secure.rounds_a_setup = 2;
    return offer;
  }
  // Through the set-up, without the sites that stay silent; threshold 3.
  static void SetUp(MachineDriver& driver, const std::set<std::string>& silent = {}) {
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kSetupKeys);
    std::vector<std::string> roster;
    for (const std::string& site : std::vector(driver.machine().setup().asked)) {
      ASSERT_TRUE(driver.Give(SecureStep::kKeys, site).ok());
      roster.push_back(site);
    }
    driver.Must(KeysClosed{driver.machine().setup().epoch, roster, 3});
    driver.Run();
    for (const std::string& site : roster) {
      if (silent.contains(site)) continue;
      ASSERT_TRUE(driver.Give(SecureStep::kShares, site).ok());
    }
    if (!silent.empty()) driver.Pass(absl::Seconds(10));
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kCollect);
  }
  static void Answer(MachineDriver& driver, int64_t first, int64_t last) {
    for (int64_t i = first; i <= last; ++i) {
      ASSERT_TRUE(driver.Give(SecureStep::kAnswer, SiteName(i)).ok());
    }
  }
};

TEST_F(SecureMachine, ASetupServesItsRoundsAndThenTheNextIsMade) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  for (int round = 0; round < 4; ++round) {
    if (round % 2 == 0) SetUp(driver);
    EXPECT_EQ(driver.machine().round().secure_epoch, round / 2);
    EXPECT_EQ(driver.machine().round().secure_index, round % 2);
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kUnmask);
    Answer(driver, 0, 2);
    driver.Must(AnswersClosed{round});
    driver.Publish();
    driver.Run();
  }
  EXPECT_EQ(driver.machine().version(), 4);
  EXPECT_EQ(driver.Replayed().version(), 4);
}

TEST_F(SecureMachine, ASiteThatGivesNoSharesIsLeftOut) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver, {SiteName(1)});
  EXPECT_THAT(driver.machine().setup().participants,
              ElementsAre(SiteName(0), SiteName(2), SiteName(3)));
  EXPECT_EQ(driver.machine().round().selected.size(), 3u);
}

TEST_F(SecureMachine, TooFewSharesAbandonTheSetupAndTheNextLeavesTheMissingOut) {
  RunOffer offer = Offer();
  offer.options.round.wait_for = 5;
  MachineDriver driver(offer);
  driver.Join(0, 4);
  driver.Run();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(driver.Give(SecureStep::kKeys, SiteName(i)).ok());
  driver.Must(KeysClosed{0, driver.machine().setup().asked, 4});
  driver.Run();
  for (const int site : {0, 3, 4}) {
    ASSERT_TRUE(driver.Give(SecureStep::kShares, SiteName(site)).ok());
  }
  driver.Pass(absl::Seconds(10));
  driver.Run();
  EXPECT_THAT(driver.Abandoned()[0], HasSubstr("missing: site-01, site-02"));
  EXPECT_EQ(driver.machine().stage(), Stage::kSetupKeys);
  EXPECT_EQ(driver.machine().setup().epoch, 1);
  EXPECT_THAT(driver.machine().setup().asked, ElementsAre(SiteName(0), SiteName(3), SiteName(4)));
}

TEST_F(SecureMachine, DropoutsUpToTheThresholdAreBorneOneMoreAbandonsTheRound) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Pass(absl::Seconds(100));
  driver.Run();
  ASSERT_EQ(driver.machine().stage(), Stage::kUnmask);
  Answer(driver, 0, 2);
  driver.Must(AnswersClosed{0});
  driver.Publish();
  driver.Run();
  ASSERT_EQ(driver.machine().round().round, 1);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Pass(absl::Seconds(100));
  driver.Run();
  EXPECT_THAT(driver.Abandoned()[0], HasSubstr("2 updates of at least 3"));
  EXPECT_EQ(driver.machine().version(), 1);
}

TEST_F(SecureMachine, TooFewAnswersEndTheRunSinceNoSiteAnswersTwiceForAModel) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  Answer(driver, 0, 1);
  EXPECT_FALSE(driver.Apply(AnswersClosed{0}).ok());
  driver.Pass(absl::Seconds(29));
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kUnmask);
  driver.Pass(absl::Seconds(1));
  driver.Run();
  EXPECT_EQ(driver.machine().end(), EndState::kFailed);
  EXPECT_THAT(driver.machine().last_reason(), HasSubstr("missing: site-02, site-03"));
  EXPECT_EQ(driver.machine().version(), 0);
}

TEST_F(SecureMachine, StrictRoundsHearTheEchoesFirst) {
  MachineDriver driver(Offer("strict"));
  driver.Join(0, 3);
  SetUp(driver);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  ASSERT_EQ(driver.machine().stage(), Stage::kEcho);
  EXPECT_FALSE(driver.Give(SecureStep::kAnswer, SiteName(0)).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver.Give(SecureStep::kEcho, SiteName(i)).ok());
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kEcho);
  driver.Pass(absl::Seconds(10));
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kUnmask);
}

TEST_F(SecureMachine, NeverTwoSurvivorSetsForOneRound) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  EXPECT_FALSE(driver.Apply(SurvivorsFixed{0, {SiteName(0), SiteName(1), SiteName(2)}}).ok());
  EXPECT_EQ(driver.machine().round().survivors.size(), 4u);
}

TEST_F(SecureMachine, ASiteThatComesLateGetsASetupOfItsOwnTime) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  driver.Join(4, 4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  Answer(driver, 0, 2);
  driver.Must(AnswersClosed{0});
  driver.Publish();
  SetUp(driver);
  EXPECT_EQ(driver.machine().setup().epoch, 1);
  EXPECT_EQ(driver.machine().round().selected.size(), 5u);
}

}  // namespace
}  // namespace ds::federated
