#include <functional>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "comm/inprocess/inprocess.h"
#include "comm/inprocess/single.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/contract/communicator_contract.h"

namespace ds {
namespace {

using ::testing::IsEmpty;

class InProcessContract : public ::testing::TestWithParam<int> {};

TEST_P(InProcessContract, Holds) {
  const std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(GetParam());
  std::vector<std::vector<std::string>> faults(group.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < group.size(); ++r) {
    threads.emplace_back([&, r] { faults[r] = CheckContract(*group[r]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<std::string>& list : faults) EXPECT_THAT(list, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Ranks, InProcessContract, ::testing::Values(1, 2, 3, 5, 8));

TEST(SingleContract, Holds) { EXPECT_THAT(CheckContract(*CreateSingleCommunicator()), IsEmpty()); }

TEST(InProcess, AWaitForARankThatDoesNotComeEndsAtItsDeadline) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  group[0]->set_timeout(absl::Milliseconds(100));
  const absl::Time start = absl::Now();
  EXPECT_EQ(group[0]->Barrier().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(90));
  // Broken for good: the peer may be half-way through something else.
  EXPECT_EQ(group[0]->Barrier().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(InProcess, ARankThatLeavesIsNoticedLongBeforeTheDeadline) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(3);
  std::vector<absl::Status> status(2);
  std::thread a([&] { status[0] = group[0]->Barrier(); });
  std::thread b([&] { status[1] = group[1]->Barrier(); });
  absl::SleepFor(absl::Milliseconds(20));
  const absl::Time start = absl::Now();
  group[2].reset();
  a.join();
  b.join();
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  for (const absl::Status& s : status) EXPECT_EQ(s.code(), absl::StatusCode::kUnavailable) << s;
}

// `body(rank)` on a thread a rank.
void OnAllRanks(int ranks, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  for (std::thread& thread : threads) thread.join();
}

absl::Status SumUntilAnError(Communicator& communicator) {
  std::vector<float> values(5003, 1.0f);
  absl::Status status;
  while (status.ok())
    status = communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kMax);
  return status;
}

TEST(InProcess, ARankThatDiesInAnAllReduceLoopIsUnavailableOnAllOthers) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(5);
  std::vector<absl::Status> status(5);
  const absl::Time start = absl::Now();
  OnAllRanks(5, [&](int r) {
    std::unique_ptr<Communicator>& mine = group[static_cast<size_t>(r)];
    if (r != 2) {
      status[static_cast<size_t>(r)] = SumUntilAnError(*mine);
      return;
    }
    std::vector<float> values(5003, 1.0f);
    for (int i = 0; i < 20; ++i)
      ASSERT_TRUE(mine->AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kMax).ok());
    mine.reset();
  });
  EXPECT_LT(absl::Now() - start, absl::Seconds(20)) << "the deadline is ten minutes";
  for (size_t r : {0u, 1u, 3u, 4u})
    EXPECT_EQ(status[r].code(), absl::StatusCode::kUnavailable) << r << ": " << status[r];
}

TEST(InProcess, ARankThatHangsInAnAllReduceLoopIsADeadlineOnAllOthers) {
  constexpr absl::Duration kTimeout = absl::Milliseconds(500);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(4);
  for (auto& communicator : group) communicator->set_timeout(kTimeout);
  std::vector<absl::Status> status(4);
  const absl::Time start = absl::Now();
  OnAllRanks(4, [&](int r) {
    if (r != 1) {
      status[static_cast<size_t>(r)] = SumUntilAnError(*group[static_cast<size_t>(r)]);
      return;
    }
    std::vector<float> values(5003, 1.0f);
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(
          group[1]->AllReduce(MutableBuffer::Of(absl::MakeSpan(values)), ReduceOp::kMax).ok());
    }
  });
  EXPECT_GE(absl::Now() - start, kTimeout * 0.9);
  EXPECT_LT(absl::Now() - start, kTimeout + absl::Seconds(20));
  // The first that gives up leaves, which the others may notice before their own deadline.
  int deadlines = 0;
  for (size_t r : {0u, 2u, 3u}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(status[r]) || absl::IsUnavailable(status[r]))
        << r << ": " << status[r];
    deadlines += absl::IsDeadlineExceeded(status[r]) ? 1 : 0;
  }
  EXPECT_GE(deadlines, 1);
}

TEST(InProcess, DisagreementAboutASizeIsAnErrorOnTheReceiver) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(2);
  for (auto& communicator : group) communicator->set_timeout(absl::Seconds(5));
  std::vector<std::byte> three(3), four(4), in0(4), in1(4);
  absl::Status status[2];
  std::thread other([&] {
    const absl::Span<const std::byte> send[] = {three, {}};
    const absl::Span<std::byte> receive[] = {absl::MakeSpan(in1), {}};
    status[1] = group[1]->Exchange(send, receive);
  });
  const absl::Span<const std::byte> send[] = {{}, four};
  const absl::Span<std::byte> receive[] = {{}, absl::MakeSpan(in0)};
  status[0] = group[0]->Exchange(send, receive);
  other.join();
  EXPECT_EQ(status[0].code(), absl::StatusCode::kInvalidArgument) << status[0];
}

}  // namespace
}  // namespace ds
