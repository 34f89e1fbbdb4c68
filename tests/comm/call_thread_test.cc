#include "comm/call_thread.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);
constexpr absl::Duration kShort = absl::Milliseconds(100);

TEST(CallThread, RunsCallsInOrderOnOneOtherThread) {
  CallThread thread;
  std::thread::id first;
  int sum = 0;
  for (int i = 0; i < 1000; ++i) {
    std::thread::id here;
    ASSERT_TRUE(thread.Run([&] { here = std::this_thread::get_id(), sum = sum * 3 % 1009 + i; },
                           Deadline::In(kLong)));
    if (i == 0) first = here;
    ASSERT_EQ(here, first);
  }
  EXPECT_NE(first, std::this_thread::get_id());
  int expected = 0;
  for (int i = 0; i < 1000; ++i) expected = expected * 3 % 1009 + i;
  EXPECT_EQ(sum, expected);
}

TEST(CallThread, TakesADeadlineInTheInfiniteFuture) {
  CallThread thread;
  bool ran = false;
  EXPECT_TRUE(thread.Run([&] { ran = true; }, Deadline::In(absl::InfiniteDuration())));
  EXPECT_TRUE(ran);
}

// The call's captures may own what must be destroyed by the caller (MPI's context is finalised
// where it dies).
TEST(CallThread, WhatACallHoldsIsGoneWhenItHasReturned) {
  CallThread thread;
  for (int i = 0; i < 1000; ++i) {
    auto held = std::make_shared<int>(i);
    ASSERT_TRUE(thread.Run([held] {}, Deadline::In(kLong)));
    ASSERT_EQ(held.use_count(), 1) << i;
  }
}

TEST(CallThread, ACallThatDoesNotReturnIsLeftAtItsDeadline) {
  struct Shared {
    std::mutex gate;
    std::atomic<bool> back = false;
  };
  const auto shared = std::make_shared<Shared>();
  std::unique_lock closed(shared->gate);
  {
    CallThread thread;
    const absl::Duration start = SteadyTime();
    EXPECT_FALSE(thread.Run(
        [shared] {
          std::lock_guard wait(shared->gate);
          shared->back = true;
        },
        Deadline::In(kShort)));
    EXPECT_GE(SteadyTime() - start, kShort * 0.9);
    EXPECT_LT(SteadyTime() - start, absl::Seconds(10));
    // Lost for good, at once, and its destructor does not wait.
    bool ran = false;
    const absl::Duration again = SteadyTime();
    EXPECT_FALSE(thread.Run([&] { ran = true; }, Deadline::In(kLong)));
    EXPECT_LT(SteadyTime() - again, absl::Seconds(10));
    EXPECT_FALSE(ran);
  }
  EXPECT_FALSE(shared->back);
  // It may come back to life later, and finds all it needs.
  closed.unlock();
  for (int i = 0; i < 1000 && !shared->back; ++i) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_TRUE(shared->back);
}

}  // namespace
}  // namespace ds
