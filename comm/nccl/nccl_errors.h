// NCCL's and the CUDA runtime's return codes as Status. The codes are ints here, so that no other
// header needs theirs.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ds {

// `code` is an ncclResult_t. OK for ncclSuccess and ncclInProgress (a nonblocking call was taken;
// NcclApi::Settled tells the rest); else the failing call, the code's meaning and the last error's
// text, all in NCCL's words. A peer or a network that is gone (ncclRemoteError, ncclSystemError) is
// Unavailable, ncclTimeout DeadlineExceeded, ncclInvalidArgument InvalidArgument, ncclInvalidUsage
// FailedPrecondition, the rest Internal.
absl::Status NcclStatus(int code, absl::string_view call);

// `code` is a cudaError_t. OK for cudaSuccess; else the failing call with CUDA's name and words. No
// device, no driver and a device that others hold are Unavailable, memory that is used up
// ResourceExhausted, bad arguments InvalidArgument, missing support Unimplemented, missing rights
// PermissionDenied, a kernel's or a wait's time limit DeadlineExceeded, memory damaged beyond
// correction DataLoss, the rest Internal.
absl::Status CudaStatus(int code, absl::string_view call);

}  // namespace ds

#define DS_RETURN_IF_NCCL_ERROR(call) DS_RETURN_IF_ERROR(::ds::NcclStatus((call), #call))
#define DS_RETURN_IF_CUDA_ERROR(call) DS_RETURN_IF_ERROR(::ds::CudaStatus((call), #call))
