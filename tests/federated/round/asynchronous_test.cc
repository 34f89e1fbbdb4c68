// The machine when updates come at any time.
#include <gmock/gmock.h>

#include "federated/round/round_machine.h"
#include "tests/federated/round/machine_driver.h"

namespace ds::federated {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunOffer Offer(int64_t buffer, int64_t max_staleness) {
  RunOffer offer = TestOffer(20);
  offer.options.round.deadline_s = 10;
  offer.options.strategy = {.name = "fedbuff", .buffer = buffer, .max_staleness = max_staleness};
  return offer;
}

TEST(Asynchronous, ASumIsPublishedForEveryBufferOfUpdates) {
  MachineDriver driver(Offer(3, 10));
  driver.Join(0, 0);
  driver.Run();
  // One site alone may fill the buffer.
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  driver.Run();
  ASSERT_EQ(driver.machine().stage(), Stage::kPublish);
  EXPECT_THAT(driver.machine().round().survivors,
              ElementsAre(SiteName(0), SiteName(0), SiteName(0)));
  // What comes meanwhile is for the next sum.
  driver.Join(1, 1);
  ASSERT_TRUE(driver.Commit(SiteName(1)).ok());
  driver.Publish();
  driver.Run();
  EXPECT_EQ(driver.machine().version(), 1);
  ASSERT_EQ(driver.machine().updates().size(), 1u);
  EXPECT_EQ(driver.machine().updates()[0].site, SiteName(1));
  EXPECT_EQ(driver.machine().NextUpdateOf(SiteName(0)), 3);
  EXPECT_EQ(driver.Replayed().updates().size(), 1u);
}

TEST(Asynchronous, UpdatesThatAreTooOldAreRefused) {
  MachineDriver driver(Offer(1, 2));
  driver.Join(0, 1);
  for (int version = 0; version < 3; ++version) {
    driver.Run();
    ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
    driver.Run();
    driver.Publish();
  }
  driver.Run();
  const BlobRef blob{.digest = TestDigest(5), .size = 5};
  const absl::Status old = driver.Apply(UpdateCommitted{0, SiteName(1), 0, blob});
  EXPECT_THAT(std::string(old.message()), HasSubstr("max_staleness"));
  EXPECT_FALSE(driver.Apply(UpdateCommitted{0, SiteName(1), 4, blob}).ok());
  EXPECT_TRUE(driver.Apply(UpdateCommitted{0, SiteName(1), 1, blob}).ok());
  EXPECT_FALSE(driver.Apply(UpdateCommitted{0, SiteName(1), 1, blob}).ok()) << "counted twice";
}

// However fast a site is, no sum holds what the sites cannot make up for: that sum would be none.
TEST(Asynchronous, UpdatesThatWouldBeTooOldWhenTheyAreSummedAreRefused) {
  MachineDriver driver(Offer(2, 1));
  driver.Join(0, 1);
  driver.Run();
  // Two for the next sum, two for the one after it, which is a version later.
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.Commit(SiteName(0)).ok()) << i;
  EXPECT_EQ(driver.machine().OldestBase(), 1);
  const absl::Status late = driver.Commit(SiteName(1));
  EXPECT_EQ(late.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(late.message()), HasSubstr("with 4 waiting"));
  driver.Run();
  driver.Publish();
  driver.Run();
  // Those that wait are as old as may be; a new one is for the newest version.
  EXPECT_EQ(driver.machine().version(), 1);
  EXPECT_EQ(driver.machine().OldestBase(), 1);
  EXPECT_TRUE(driver.Commit(SiteName(1)).ok());
  EXPECT_EQ(driver.Replayed().updates().size(), 3u);
}

TEST(Asynchronous, ABufferThatDoesNotFillEndsTheRun) {
  MachineDriver driver(Offer(3, 10));
  driver.Join(0, 0);
  driver.Run();
  ASSERT_TRUE(driver.Commit(SiteName(0)).ok());
  for (int i = 0; i < 3; ++i) {
    driver.Pass(absl::Seconds(10));
    driver.Run();
  }
  EXPECT_EQ(driver.machine().end(), EndState::kFailed);
  EXPECT_EQ(driver.machine().updates().size(), 1u) << "an abandonment keeps what is there";
}

}  // namespace
}  // namespace ds::federated
