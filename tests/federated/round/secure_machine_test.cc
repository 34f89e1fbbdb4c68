// Rounds under secure aggregation: set-ups, survivors, unmasking, and what ends each of them.
#include "tests/federated/round/secure_machine.h"

#include <gmock/gmock.h>

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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
  RunOffer offer = Offer();
  offer.options.secure.rounds_a_setup = 16;
  MachineDriver driver(offer);
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

// Another joins while that set-up is under way, or done: there is one for it too.

}  // namespace
}  // namespace ds::federated
