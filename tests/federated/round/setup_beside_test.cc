// Set-ups that are made beside the rounds: when they begin, who is in them, and that nobody waits.
#include <gmock/gmock.h>

#include "tests/federated/round/secure_machine.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(SecureMachine, ASetupServesItsRoundsAndTheNextIsMadeBesideItsLast) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    EXPECT_EQ(driver.machine().round().secure_epoch, round / 2);
    EXPECT_EQ(driver.machine().round().secure_index, round % 2);
    // None beside the run's last round.
    const bool beside = round % 2 == 1 && round < 5;
    EXPECT_EQ(driver.machine().next_setup().under_way(), beside);
    if (beside) SetUpBeside(driver, driver.machine().next_setup().asked);
    Finish(driver);
    const size_t published = driver.log().size();
    driver.Run();
    if (round == 5) break;
    // At once, whosever masks it takes.
    ASSERT_GT(driver.log().size(), published);
    EXPECT_TRUE(std::holds_alternative<RoundPlanned>(driver.log()[published]));
  }
  EXPECT_EQ(driver.machine().end(), EndState::kFinished);
  EXPECT_EQ(driver.Replayed().version(), 6);
}

TEST_F(SecureMachine, AFinishedSetupWaitsForItsRoundAndMixesWithNoOther) {
  MachineDriver driver = InLastRound();
  const std::vector<std::string> asked = driver.machine().next_setup().asked;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  ASSERT_EQ(driver.machine().stage(), Stage::kUnmask);
  const BlobRef payload = {.digest = TestDigest(7), .size = 1, .bytes = "x"};
  EXPECT_FALSE(driver.Apply(SecureGiven{SecureStep::kKeys, 0, -1, SiteName(0), payload}).ok());
  EXPECT_FALSE(driver.Apply(SecureGiven{SecureStep::kAnswer, 1, 1, SiteName(0), payload}).ok());
  EXPECT_FALSE(driver.Apply(KeysClosed{0, asked, 3}).ok());
  EXPECT_FALSE(driver.Apply(SharesClosed{0, asked}).ok());
  EXPECT_FALSE(driver.Apply(SetupAbandoned{0, "why", {}}).ok());
  // The set-up goes on while the round is unmasked, whose threshold is its own.
  SetUpBeside(driver, asked);
  EXPECT_EQ(driver.machine().setup().epoch, 0);
  EXPECT_EQ(driver.machine().stage(), Stage::kUnmask);
  EXPECT_EQ(driver.Replayed().next_setup().participants, asked);
  Answer(driver, 0, 2);
  driver.Must(AnswersClosed{1});
  driver.Publish();
  driver.Run();
  EXPECT_EQ(driver.machine().round().secure_epoch, 1);
  EXPECT_EQ(driver.machine().next_setup().step, SetupStep::kNone);
  EXPECT_EQ(driver.machine().setup().participants, asked);
}

TEST_F(SecureMachine, ASetupThatIsSlowerThanItsRoundIsWaitedForAndNoLonger) {
  MachineDriver driver = InLastRound();
  const std::vector<std::string> asked = driver.machine().next_setup().asked;
  Finish(driver);
  driver.Pass(absl::Seconds(9));
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kIdle);
  for (const std::string& site : asked) {
    ASSERT_TRUE(driver.Give(SecureStep::kKeys, site).ok());
  }
  driver.Must(KeysClosed{1, asked, 3});
  // The shares have a deadline of their own; site 1 costs that, and is not in the next rounds.
  const Decision waits = driver.Run();
  EXPECT_FALSE(waits.record.has_value());
  for (const int site : {0, 2, 3}) {
    ASSERT_TRUE(driver.Give(SecureStep::kShares, SiteName(site)).ok());
  }
  driver.Pass(absl::Seconds(9));
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kIdle);
  driver.Pass(absl::Seconds(1));
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kCollect);
  EXPECT_EQ(driver.machine().round().secure_epoch, 1);
  EXPECT_THAT(driver.machine().round().selected,
              ElementsAre(SiteName(0), SiteName(2), SiteName(3)));
}

TEST_F(SecureMachine, ASetupThatFailsBesideARoundDoesNotDisturbIt) {
  MachineDriver driver = InLastRound();
  // Nobody gives keys: so often as rounds may fail in a row, then no more beside this round.
  for (int64_t epoch = 1; epoch <= 3; ++epoch) {
    EXPECT_EQ(driver.machine().next_setup().epoch, epoch);
    driver.Pass(absl::Seconds(10));
    driver.Run();
  }
  EXPECT_EQ(driver.Abandoned().size(), 3u);
  EXPECT_EQ(driver.machine().next_setup().step, SetupStep::kNone);
  EXPECT_EQ(driver.machine().stage(), Stage::kCollect);
  EXPECT_EQ(driver.Replayed().next_setup().epoch, -1);
  Finish(driver);
  // As without any: a stage of its own.
  SetUp(driver);
  EXPECT_EQ(driver.machine().round().secure_epoch, 4);
  EXPECT_EQ(driver.machine().version(), 2);
}

// They have cost nobody a round: rounds may still fail as often in a row as without them.
TEST_F(SecureMachine, SetupsThatFailBesideARoundDoNotCountAsItsFailures) {
  MachineDriver driver = InLastRound();
  for (int failed = 0; failed < 3; ++failed) {
    driver.Pass(absl::Seconds(10));
    driver.Run();
  }
  driver.Pass(absl::Seconds(100));  // nobody sends an update
  driver.Run();
  EXPECT_EQ(driver.Abandoned().size(), 4u);
  EXPECT_NE(driver.machine().stage(), Stage::kEnded);
}

TEST_F(SecureMachine, OneSetupAtATimeAndNoneInARunThatHasEnded) {
  MachineDriver driver = InLastRound();
  const std::vector<std::string> asked = driver.machine().next_setup().asked;
  EXPECT_FALSE(driver.Apply(SetupStarted{2, asked}).ok());
  EXPECT_TRUE(driver.machine().next_setup().under_way());
  driver.Must(StopAsked{"enough"});
  Finish(driver);
  driver.Run();
  ASSERT_EQ(driver.machine().stage(), Stage::kEnded);
  EXPECT_EQ(driver.machine().next_setup().step, SetupStep::kNone);
  EXPECT_EQ(driver.Replayed().next_setup().step, SetupStep::kNone);
}

TEST_F(SecureMachine, WhoSpoiltASetupBesideARoundIsLeftOutOfTheNextBesideIt) {
  MachineDriver driver = InLastRound();
  const std::vector<std::string> asked = driver.machine().next_setup().asked;
  for (const std::string& site : asked) {
    ASSERT_TRUE(driver.Give(SecureStep::kKeys, site).ok());
  }
  driver.Must(KeysClosed{1, asked, 4});
  driver.Run();
  for (const int site : {0, 2, 3}) {
    ASSERT_TRUE(driver.Give(SecureStep::kShares, SiteName(site)).ok());
  }
  driver.Pass(absl::Seconds(10));
  driver.Run();
  EXPECT_THAT(driver.Abandoned()[0], HasSubstr("missing: site-01"));
  EXPECT_EQ(driver.machine().next_setup().epoch, 2);
  EXPECT_THAT(driver.machine().next_setup().asked,
              ElementsAre(SiteName(0), SiteName(2), SiteName(3)));
  EXPECT_EQ(driver.machine().stage(), Stage::kCollect);
}

TEST_F(SecureMachine, WhoIsAwayForAMomentIsInTheSetupBesideTheRound) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  Finish(driver);
  driver.present().erase(SiteName(2));
  driver.Pass(absl::Seconds(2));  // longer than it is given between rounds
  driver.Run();
  driver.Pass(absl::Seconds(2));
  driver.Run();
  ASSERT_EQ(driver.machine().stage(), Stage::kCollect);
  EXPECT_EQ(driver.machine().next_setup().step, SetupStep::kNone);
  driver.present().insert(SiteName(2));
  driver.Run();
  EXPECT_EQ(driver.machine().next_setup().asked.size(), 4u);
}

TEST_F(SecureMachine, AStoppingRunBeginsNoSetupBesideItsRound) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  Finish(driver);
  driver.Must(driver.machine().Decide(absl::Seconds(1000), driver.present()).record.value());
  driver.Must(StopAsked{"enough"});
  driver.Run();
  EXPECT_EQ(driver.machine().stage(), Stage::kCollect);
  EXPECT_EQ(driver.machine().next_setup().step, SetupStep::kNone);
}

// It waits for a site that comes rather than fail.
TEST_F(SecureMachine, NoSetupBeginsBelowItsThreshold) {
  RunOffer offer = Offer();
  offer.options.secure.threshold = 4;
  MachineDriver driver = InLastRound(offer);
  driver.Must(SetupAbandoned{1, "a test", {}});
  driver.present().erase(SiteName(3));
  driver.Run();
  driver.Pass(absl::Seconds(3));
  driver.Run();
  EXPECT_EQ(driver.machine().next_setup().step, SetupStep::kNone);
  driver.present().insert(SiteName(3));
  driver.Run();
  EXPECT_EQ(driver.machine().next_setup().epoch, 2);
}

TEST_F(SecureMachine, WhoJoinsWhileOthersTrainIsInTheSetupBesideThatRound) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  driver.Join(4, 4);
  driver.Run();
  EXPECT_EQ(driver.machine().next_setup().asked.size(), 5u);
  SetUpBeside(driver, driver.machine().next_setup().asked);
  Finish(driver);
  driver.Run();
  EXPECT_EQ(driver.machine().setup().epoch, 1);
  EXPECT_EQ(driver.machine().round().selected.size(), 5u);
  EXPECT_EQ(driver.machine().round().secure_index, 0);
}

TEST_F(SecureMachine, WhoMissedTheSetupBesideTheRoundGetsAnother) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  driver.Join(4, 4);
  driver.Run();
  driver.Join(5, 5);
  driver.Run();
  const std::vector<std::string> asked = driver.machine().next_setup().asked;
  for (const std::string& site : asked) {
    ASSERT_TRUE(driver.Give(SecureStep::kKeys, site).ok());
  }
  driver.Must(KeysClosed{1, asked, 3});
  for (const std::string& site : asked) {
    ASSERT_TRUE(driver.Give(SecureStep::kShares, site).ok());
  }
  driver.Run();
  EXPECT_EQ(driver.machine().next_setup().epoch, 2);
  EXPECT_EQ(driver.machine().next_setup().asked.size(), 6u);
}

TEST_F(SecureMachine, WhoJoinsAfterTheTrainingGetsASetupBetweenTheRounds) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
  driver.Run();
  driver.Join(4, 4);
  Answer(driver, 0, 2);
  driver.Must(AnswersClosed{0});
  driver.Publish();
  SetUp(driver);
  EXPECT_EQ(driver.machine().setup().epoch, 1);
  EXPECT_EQ(driver.machine().round().selected.size(), 5u);
}

TEST_F(SecureMachine, ALogOfSetupsBetweenTheRoundsIsReadAsItWas) {
  MachineDriver driver(Offer());
  driver.Join(0, 3);
  SetUp(driver);
  Finish(driver);
  const std::vector<std::string> all = driver.machine().setup().participants;
  driver.Must(SetupStarted{1, all});
  EXPECT_EQ(driver.machine().stage(), Stage::kSetupKeys);
  for (const std::string& site : all) ASSERT_TRUE(driver.Give(SecureStep::kKeys, site).ok());
  driver.Must(KeysClosed{1, all, 3});
  for (const std::string& site : all) ASSERT_TRUE(driver.Give(SecureStep::kShares, site).ok());
  driver.Must(SharesClosed{1, all});
  driver.Must(RoundPlanned{1, 1, TestDigest(1), all, 1, 0});
  EXPECT_EQ(driver.Replayed().round().secure_epoch, 1);
}

}  // namespace
}  // namespace ds::federated
