#include "comm/factory/factory.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr double kTimeoutS = 20;
const LaunchInfo kAlone;
const LaunchInfo kTwo = {.launched = true, .rank = 1, .size = 2, .local_size = 2};

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(CreateCommunicator, AloneAutoIsNone) {
  const auto communicator = CreateCommunicator({"auto", kTimeoutS}, kAlone);
  ASSERT_TRUE(communicator.ok()) << communicator.status();
  EXPECT_EQ((*communicator)->backend(), "none");
  EXPECT_EQ((*communicator)->size(), 1);
}

TEST(CreateCommunicator, NoneAmongSeveralWouldTrainAlone) {
  const absl::Status status = CreateCommunicator({"none", kTimeoutS}, kTwo).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), HasSubstr("2 ranks were started: each would train alone"));
  const LaunchInfo unknown = {.launched = true, .rank = 1, .size = 0};
  EXPECT_EQ(CreateCommunicator({"none", kTimeoutS}, unknown).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CreateCommunicator, UnknownNamesAreRefusedWithTheKnownOnes) {
  const absl::Status status = CreateCommunicator({"gloo", kTimeoutS}, kAlone).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), HasSubstr("'gloo'; it is one of auto, mpi, nccl, none"));
}

TEST(CreateCommunicator, NcclWithoutADeviceIsUnavailable) {
  const auto communicator = CreateCommunicator({"nccl", kTimeoutS}, kAlone);
  if (communicator.ok()) GTEST_SKIP() << "this machine has a device";
  EXPECT_EQ(communicator.status().code(), absl::StatusCode::kUnavailable) << communicator.status();
  EXPECT_THAT(Message(communicator.status()), HasSubstr("NCCL"));
}

// As under an srun or an mpirun that this MPI library does not know: it starts alone. Last, because
// MPI starts only once a process.
TEST(CreateCommunicator, ZAnMpiThatSeesFewerRanksThanWereStartedIsRefused) {
  const absl::Status status = CreateCommunicator({"auto", kTimeoutS}, kTwo).status();
  if (absl::IsUnavailable(status)) GTEST_SKIP() << status.message();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(Message(status), HasSubstr("2 ranks were started, but MPI sees 1"));
}

}  // namespace
}  // namespace ds
