#include "base/clock.h"

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

TEST(Deadline, IsPastWhenItsTimeIsUp) {
  const Deadline soon = Deadline::In(absl::Milliseconds(50));
  EXPECT_FALSE(soon.IsPast());
  EXPECT_GT(soon.Left(), absl::ZeroDuration());
  EXPECT_FALSE(soon.LaterBy(absl::Seconds(60)).IsPast());
  absl::SleepFor(absl::Milliseconds(60));
  EXPECT_TRUE(soon.IsPast());
  EXPECT_EQ(soon.Left(), absl::ZeroDuration());
  EXPECT_TRUE(Deadline::In(-absl::Seconds(1)).IsPast());
}

TEST(Deadline, MayBeNever) {
  const Deadline never = Deadline::In(absl::InfiniteDuration());
  EXPECT_FALSE(never.IsPast());
  EXPECT_EQ(never.Left(), absl::InfiniteDuration());
  EXPECT_GT(never.Moment(), std::chrono::steady_clock::now() + std::chrono::hours(24));
}

TEST(Patience, IsOverWhenTheDeadlineIsForOneWhoLooks) {
  Patience patience(Deadline::In(absl::Milliseconds(300)));
  const absl::Duration start = SteadyTime();
  while (!patience.IsOver()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_GE(SteadyTime() - start, absl::Milliseconds(300));
  EXPECT_LT(SteadyTime() - start, absl::Seconds(2));
}

// As a stopped process does: it cannot look, and the others get their time all the same.
TEST(Patience, DoesNotCountWhatItsOwnProcessStoodStill) {
  Patience patience(Deadline::In(absl::Milliseconds(500)));
  absl::SleepFor(absl::Milliseconds(2600));
  EXPECT_FALSE(patience.IsOver());
  const absl::Duration start = SteadyTime();
  while (!patience.IsOver()) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_GE(SteadyTime() - start, absl::Milliseconds(300));
}

}  // namespace
}  // namespace ds
