// No wait of a communicator depends on the wall clock: it is stepped by ten minutes, to and fro,
// under each of them.
#include "tests/support/wall_clock.h"

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/clock.h"
#include "comm/call_thread.h"
#include "comm/inprocess/inprocess.h"
#include "comm/while_others_wait.h"
#include "gtest/gtest.h"
#include "tests/comm/nccl/nccl_group.h"

namespace ds {
namespace {

constexpr absl::Duration kStep = absl::Minutes(10);

class WallClock : public ::testing::Test {
 protected:
  ~WallClock() override { StepWallClock(-stepped_); }
  void Step(absl::Duration step) {
    StepWallClock(step);
    stepped_ += step;
  }

  // `late` and `early` use a communicator each; the clock steps while `early` waits for `late`.
  void WaitThroughAStep(Communicator& early, Communicator& late, absl::Duration step) {
    early.set_timeout(absl::Seconds(60));
    late.set_timeout(absl::Seconds(60));
    absl::Status status;
    std::thread waits([&] { status = early.Barrier(); });
    absl::SleepFor(absl::Milliseconds(50));
    Step(step);
    absl::SleepFor(absl::Milliseconds(50));
    EXPECT_TRUE(late.Barrier().ok());
    waits.join();
    EXPECT_TRUE(status.ok()) << status;
  }

  // Alone, so that the wait must end at its deadline, whatever the clock on the wall says.
  void GiveUpThroughAStep(Communicator& alone, absl::Duration step) {
    alone.set_timeout(absl::Milliseconds(300));
    const absl::Duration start = SteadyTime();
    std::thread steps([&] {
      absl::SleepFor(absl::Milliseconds(50));
      Step(step);
    });
    EXPECT_EQ(alone.Barrier().code(), absl::StatusCode::kDeadlineExceeded);
    steps.join();
    EXPECT_GE(SteadyTime() - start, absl::Milliseconds(280));
    EXPECT_LT(SteadyTime() - start, absl::Seconds(20));
  }

 private:
  absl::Duration stepped_;
};

TEST_F(WallClock, IsSteppedForEverybodyWhoAsks) {
  const absl::Time before = absl::Now();
  const auto before_std = std::chrono::system_clock::now();
  Step(kStep);
  EXPECT_GE(absl::Now() - before, kStep);
  EXPECT_GE(absl::FromChrono(std::chrono::system_clock::now() - before_std), kStep);
}

TEST_F(WallClock, DoesNotEndOrProlongAWaitAmongThreads) {
  for (const absl::Duration step : {kStep, -kStep}) {
    std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
    WaitThroughAStep(*group[0], *group[1], step);
    GiveUpThroughAStep(*group[0], step);
  }
}

TEST_F(WallClock, DoesNotEndOrProlongAWaitOverNccl) {
  for (const absl::Duration step : {kStep, -kStep}) {
    FakeCluster cluster(2);
    NcclResults group = CreateNcclGroup(cluster, 2);
    WaitThroughAStep(**group[0], **group[1], step);
    GiveUpThroughAStep(**group[0], step);
    CloseAll(group);
  }
}

TEST_F(WallClock, DoesNotEndOrProlongACallOnAThread) {
  for (const absl::Duration step : {kStep, -kStep}) {
    CallThread thread;
    const auto call = [&] {
      absl::SleepFor(absl::Milliseconds(50));
      Step(step);
      absl::SleepFor(absl::Milliseconds(50));
    };
    EXPECT_TRUE(thread.Run(call, Deadline::In(absl::Seconds(60))));
  }
}

TEST_F(WallClock, DoesNotEndAWaitForARankThatWorks) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  std::vector<absl::Status> status(2);
  const auto rank = [&](size_t r) {
    group[r]->set_timeout(absl::Seconds(30));
    status[r] = WhileOthersWait(*group[r], 0, "step the clock", [&] {
      absl::SleepFor(absl::Milliseconds(20));
      Step(kStep);
      absl::SleepFor(absl::Milliseconds(100));
      return absl::OkStatus();
    });
  };
  std::thread other(rank, 1);
  rank(0);
  other.join();
  for (const absl::Status& s : status) EXPECT_TRUE(s.ok()) << s;
}

}  // namespace
}  // namespace ds
