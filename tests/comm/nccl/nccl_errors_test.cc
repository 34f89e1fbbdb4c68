// Compiled only where NCCL is: the codes are its own.
#include "comm/nccl/nccl_errors.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

TEST(NcclStatus, EveryResultIsMappedWithNcclsWords) {
  const std::pair<ncclResult_t, Code> expected[] = {
    {ncclSuccess, Code::kOk},
    {ncclUnhandledCudaError, Code::kInternal},
    {ncclSystemError, Code::kUnavailable},
    {ncclInternalError, Code::kInternal},
    {ncclInvalidArgument, Code::kInvalidArgument},
    {ncclInvalidUsage, Code::kFailedPrecondition},
    {ncclRemoteError, Code::kUnavailable},
    {ncclInProgress, Code::kOk},
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 32, 0)
    {ncclTimeout, Code::kDeadlineExceeded},
#endif
  };
  // A result that a later NCCL adds must be thought about.
  ASSERT_EQ(std::size(expected), static_cast<size_t>(ncclNumResults));
  for (const auto& [result, code] : expected) {
    const absl::Status status = NcclStatus(result, "ncclSend(from, bytes)");
    EXPECT_EQ(status.code(), code) << result;
    if (status.ok()) continue;
    EXPECT_THAT(std::string(status.message()), HasSubstr("NCCL: ncclSend: "));
    EXPECT_THAT(std::string(status.message()), HasSubstr(ncclGetErrorString(result)));
  }
}

TEST(CudaStatus, EveryErrorIsMappedWithCudasWords) {
  int known = 0;
  for (int code = 0; code <= cudaErrorUnknown; ++code) {
    const absl::Status status = CudaStatus(code, "cudaMalloc(&memory, bytes)");
    EXPECT_EQ(status.ok(), code == cudaSuccess) << code;
    const std::string name = cudaGetErrorName(static_cast<cudaError_t>(code));
    if (status.ok() || name.find("cudaError") != 0) continue;
    ++known;
    EXPECT_THAT(std::string(status.message()), HasSubstr("CUDA: cudaMalloc: " + name + ": "));
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(cudaGetErrorString(static_cast<cudaError_t>(code))));
  }
  EXPECT_GT(known, 100) << "CUDA has well over a hundred errors";
}

TEST(CudaStatus, TellsWhatTheCallerCanDo) {
  const std::pair<cudaError_t, Code> expected[] = {
      {cudaErrorNoDevice, Code::kUnavailable},
      {cudaErrorInsufficientDriver, Code::kUnavailable},
      {cudaErrorDevicesUnavailable, Code::kUnavailable},
      {cudaErrorMemoryAllocation, Code::kResourceExhausted},
      {cudaErrorInvalidValue, Code::kInvalidArgument},
      {cudaErrorInvalidDevice, Code::kInvalidArgument},
      {cudaErrorNotSupported, Code::kUnimplemented},
      {cudaErrorNotPermitted, Code::kPermissionDenied},
      {cudaErrorLaunchTimeout, Code::kDeadlineExceeded},
      {cudaErrorECCUncorrectable, Code::kDataLoss},
      {cudaErrorIllegalAddress, Code::kInternal},
      {cudaErrorUnknown, Code::kInternal},
  };
  for (const auto& [error, code] : expected)
    EXPECT_EQ(CudaStatus(error, "call").code(), code) << cudaGetErrorName(error);
}

}  // namespace
}  // namespace ds
