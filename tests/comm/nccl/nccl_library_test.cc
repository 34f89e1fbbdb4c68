// The real libraries, as far as they go without a device.
#include "absl/time/clock.h"
#include "comm/inprocess/inprocess.h"
#include "comm/inprocess/single.h"
#include "comm/nccl/nccl_communicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/comm/nccl/nccl_group.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

// True whether it was built with NCCL or not.
TEST(NcclLibrary, WithoutADeviceTheFactorySaysSo) {
  absl::StatusOr<NcclRuntime> runtime = CreateNcclRuntime();
  if (runtime.ok() && runtime->device->Count().ok()) GTEST_SKIP() << "this machine has a device";
  const absl::Time start = absl::Now();
  const absl::Status status = CreateNcclCommunicator(CreateSingleCommunicator()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("NCCL"));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(runtime.ok() ? "cudaGetDeviceCount: cudaError" : "built without NCCL"));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  std::printf("%s\n", std::string(status.message()).c_str());
}

TEST(NcclLibrary, WithoutADeviceAllRanksHearTheSame) {
  const absl::StatusOr<NcclRuntime> runtime = CreateNcclRuntime();
  if (runtime.ok() && runtime->device->Count().ok()) GTEST_SKIP() << "this machine has a device";
  std::vector<std::unique_ptr<Communicator>> bootstraps = CreateInProcessGroup(3);
  std::vector<absl::Status> status(3);
  OnAllRanks(3, [&](int r) {
    status[static_cast<size_t>(r)] =
        CreateNcclCommunicator(std::move(bootstraps[static_cast<size_t>(r)])).status();
  });
  for (const absl::Status& s : status) {
    EXPECT_EQ(s.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(s, status[0]);
  }
}

}  // namespace
}  // namespace ds
