// The backend's logic over a simulated NCCL: what it does when peers, NCCL or the device do not.
#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/nccl/nccl_group.h"
#include "tests/support/sanitized.h"

namespace ds {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr absl::Duration kShort = absl::Milliseconds(300);
const NcclOptions kImpatient = {.timeout = kShort, .grace = kShort};

absl::Status SumOnce(Communicator& comm) {
  std::vector<float> values(5003, 1.0f);
  return comm.AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kSum);
}

TEST(NcclSetUp, EveryRankHearsOfTheOneWithoutADevice) {
  FakeCluster cluster({1, 1, 0}, {"host", "host", "host"});
  for (const auto& result : CreateNcclGroup(cluster, 3)) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("rank 2: no device is detected"));
  }
}

TEST(NcclSetUp, TwoRanksOnOneDeviceAreRefused) {
  FakeCluster cluster({2, 2, 2}, {"host", "host", "host"});
  for (const auto& result : CreateNcclGroup(cluster, 3)) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(result.status().message()),
                HasSubstr("ranks 0 and 2 would share the device 0000:00:00.0"));
  }
}

TEST(NcclSetUp, ADeviceThatIsNotThereIsRefused) {
  FakeCluster cluster(2);
  for (const auto& result :
       CreateNcclGroup(cluster, 2, [](int r) { return NcclOptions{.device = r == 1 ? 2 : 0}; })) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(result.status().message()),
                HasSubstr("rank 1: device 2 was asked for, but only 2 are there"));
  }
}

TEST(NcclSetUp, EveryRankHearsThatNoIdCouldBeMade) {
  FakeCluster cluster(3);
  cluster.FailCall(0, "MakeUniqueId", 1, absl::UnavailableError("no network interface"));
  for (const auto& result : CreateNcclGroup(cluster, 3)) {
    EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("no network interface"));
  }
}

TEST(NcclSetUp, ARankThatFailsToJoinLeavesTheOthersToTheirDeadline) {
  FakeCluster cluster(3);
  cluster.FailCall(1, "StartInit", 1, absl::InternalError("unhandled system error"));
  const absl::Time start = absl::Now();
  const NcclResults group = CreateNcclGroup(cluster, 3, kImpatient);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_EQ(group[1].status().code(), absl::StatusCode::kInternal);
  for (size_t r : {0u, 2u}) {
    EXPECT_EQ(group[r].status().code(), absl::StatusCode::kDeadlineExceeded) << group[r].status();
    EXPECT_THAT(cluster.Trace(static_cast<int>(r)), Contains("Abort"));
  }
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

TEST(NcclSetUp, ARankThatNeverComesEndsAtTheBootstrapsDeadline) {
  FakeCluster cluster(2);
  std::vector<std::unique_ptr<Communicator>> bootstraps = CreateInProcessGroup(2);
  const absl::Time start = absl::Now();
  const auto result =
      CreateNcclCommunicator(cluster.Runtime(0), std::move(bootstraps[0]), kImpatient);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - start, kShort * 0.9);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

// Rank 2 stops between two all-reduces and keeps its communicator: it hangs rather than dies.
TEST(NcclFaults, ARankThatStopsIsADeadlineOnTheOthersAndAnAbort) {
  FakeCluster cluster(3);
  NcclResults group = CreateNcclGroup(cluster, 3, kImpatient);
  std::vector<absl::Status> status(3);
  OnAllRanks(3, [&](int r) {
    Communicator& comm = **group[static_cast<size_t>(r)];
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(SumOnce(comm).ok());
    if (r == 2) return;
    const absl::Time start = absl::Now();
    status[static_cast<size_t>(r)] = SumOnce(comm);
    EXPECT_GE(absl::Now() - start, kShort * 0.9);
    EXPECT_LT(absl::Now() - start, kShort + 2 * kShort + kTimesSlower * absl::Seconds(3))
        << "its deadline and two graces";
    // Broken for good, at once.
    const absl::Time again = absl::Now();
    EXPECT_EQ(comm.Barrier(), status[static_cast<size_t>(r)]);
    EXPECT_EQ(comm.Duplicate().status(), status[static_cast<size_t>(r)]);
    EXPECT_LT(absl::Now() - again, kTimesSlower * kShort);
  });
  for (size_t r : {0u, 1u}) {
    EXPECT_EQ(status[r].code(), absl::StatusCode::kDeadlineExceeded) << status[r];
    EXPECT_THAT(std::string(status[r].message()), HasSubstr(absl::StrCat("rank ", r)));
    EXPECT_THAT(cluster.Trace(static_cast<int>(r)), Contains("Abort"));
  }
  CloseAll(group);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

TEST(NcclFaults, WhatNcclNoticesInTheBackgroundEndsTheWaitAtOnce) {
  FakeCluster cluster(2);
  NcclResults group = CreateNcclGroup(cluster, 2, {.timeout = absl::Minutes(5), .grace = kShort});
  std::thread noticed([&] {
    absl::SleepFor(absl::Milliseconds(50));
    cluster.SetAsyncError(
        0, absl::UnavailableError("NCCL: ncclCommGetAsyncError: remote process exited"));
  });
  const absl::Time start = absl::Now();
  const absl::Status status = SumOnce(**group[0]);  // rank 1 does not come
  noticed.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("remote process exited"));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  EXPECT_THAT(cluster.Trace(0), Contains("Abort"));
  CloseAll(group);
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

struct FailingCall {
  const char* function;
  int nth;
};
void PrintTo(const FailingCall& call, std::ostream* os) { *os << call.function << " " << call.nth; }
class NcclFailingCall : public ::testing::TestWithParam<FailingCall> {};

// Any call that fails on one rank is that rank's error; the others end by their deadlines, and
// nothing is left behind.
TEST_P(NcclFailingCall, EndsTheCollectiveOnEveryRank) {
  FakeCluster cluster(3);
  NcclResults group = CreateNcclGroup(cluster, 3, kImpatient);
  cluster.FailCall(1, GetParam().function, GetParam().nth,
                   absl::ResourceExhaustedError("injected"));
  std::vector<absl::Status> status(3);
  OnAllRanks(3, [&](int r) {
    while (status[static_cast<size_t>(r)].ok())
      status[static_cast<size_t>(r)] = SumOnce(**group[static_cast<size_t>(r)]);
  });
  EXPECT_EQ(status[1], absl::ResourceExhaustedError("injected"));
  for (size_t r : {0u, 2u})
    EXPECT_EQ(status[r].code(), absl::StatusCode::kDeadlineExceeded) << status[r];
  CloseAll(group);
  EXPECT_THAT(cluster.Violations(), IsEmpty());
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Calls, NcclFailingCall,
                         ::testing::Values(FailingCall{"Selected", 1}, FailingCall{"Select", 1},
                                           FailingCall{"Place", 3}, FailingCall{"Allocate", 1},
                                           FailingCall{"Allocate", 2}, FailingCall{"CopyAsync", 1},
                                           FailingCall{"CopyAsync", 4},
                                           FailingCall{"GroupStart", 2}, FailingCall{"Receive", 2},
                                           FailingCall{"Send", 1}, FailingCall{"GroupEnd", 1},
                                           FailingCall{"Settled", 5}, FailingCall{"Idle", 1}));

TEST(NcclFaults, ASettingUpThatFailsHalfWayIsUndone) {
  for (const char* function : {"CreateStream", "Select", "BusId", "Count", "Settled"}) {
    SCOPED_TRACE(function);
    FakeCluster cluster(2);
    cluster.FailCall(1, function, 1, absl::InternalError("injected"));
    NcclResults group = CreateNcclGroup(cluster, 2, kImpatient);
    EXPECT_THAT(std::string(group[1].status().message()), HasSubstr("injected"));
    CloseAll(group);
    EXPECT_THAT(cluster.Violations(), IsEmpty());
    EXPECT_THAT(cluster.Leaks(), IsEmpty());
  }
}

// Memory that the device may still write to is never freed.
TEST(NcclFaults, AnAbortThatHangsIsLeftBehindWithItsMemory) {
  FakeCluster cluster(2);
  NcclResults group = CreateNcclGroup(cluster, 2, kImpatient);
  cluster.HangAborts(0);
  const absl::Time start = absl::Now();
  EXPECT_EQ(SumOnce(**group[0]).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  CloseAll(group);
  EXPECT_THAT(cluster.Leaks(), Contains("memory of rank 0"));
  EXPECT_THAT(cluster.Leaks(), Not(Contains("memory of rank 1")));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(NcclFaults, ADeviceThatHangsIsLeftBehindWithItsMemory) {
  FakeCluster cluster(2);
  NcclResults group = CreateNcclGroup(cluster, 2, kImpatient);
  cluster.HangStreams(0);
  const absl::Time start = absl::Now();
  EXPECT_EQ(SumOnce(**group[0]).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  CloseAll(group);
  EXPECT_THAT(cluster.Leaks(), Contains("memory of rank 0"));
  EXPECT_THAT(cluster.Leaks(), Contains("stream of rank 0"));
  EXPECT_THAT(cluster.Violations(), IsEmpty());
}

TEST(NcclFaults, ClosingDoesNotWaitForEverForAPeer) {
  FakeCluster cluster(2);
  NcclResults group = CreateNcclGroup(cluster, 2, kImpatient);
  const absl::Time start = absl::Now();
  group[0]->reset();  // rank 1 does not close
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_THAT(cluster.Trace(0), Contains("Abort"));
  group[1]->reset();
  EXPECT_THAT(cluster.Leaks(), IsEmpty());
}

}  // namespace
}  // namespace ds
