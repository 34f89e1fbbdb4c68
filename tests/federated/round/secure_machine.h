// A machine under secure aggregation, driven by hand: set-ups of two rounds, four sites.
#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "federated/round/round_machine.h"
#include "tests/federated/round/machine_driver.h"

namespace ds::federated {

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
  // Everybody of `sites` gives keys and shares to the set-up beside the round; threshold 3.
  static void SetUpBeside(MachineDriver& driver, const std::vector<std::string>& sites) {
    const int64_t epoch = driver.machine().next_setup().epoch;
    for (const std::string& site : sites) {
      ASSERT_TRUE(driver.Give(SecureStep::kKeys, site).ok());
    }
    driver.Must(KeysClosed{epoch, sites, 3});
    for (const std::string& site : sites) {
      ASSERT_TRUE(driver.Give(SecureStep::kShares, site).ok());
    }
    driver.Run();
    ASSERT_EQ(driver.machine().next_setup().step, SetupStep::kDone);
  }
  // From updates of sites 0 to 3 to the publication.
  static void Finish(MachineDriver& driver) {
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(i)).ok());
    driver.Run();
    ASSERT_EQ(driver.machine().stage(), Stage::kUnmask);
    Answer(driver, 0, 2);
    driver.Must(AnswersClosed{driver.machine().round().round});
    driver.Publish();
  }
  // In its second round, the last of its set-up.
  static MachineDriver InLastRound(const RunOffer& offer = Offer()) {
    MachineDriver driver(offer);
    driver.Join(0, 3);
    SetUp(driver);
    Finish(driver);
    driver.Run();
    EXPECT_EQ(driver.machine().round().secure_index, 1);
    return driver;
  }
  static void Answer(MachineDriver& driver, int64_t first, int64_t last) {
    for (int64_t i = first; i <= last; ++i) {
      ASSERT_TRUE(driver.Give(SecureStep::kAnswer, SiteName(i)).ok());
    }
  }
};

}  // namespace ds::federated
