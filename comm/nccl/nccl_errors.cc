#include "comm/nccl/nccl_errors.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

absl::StatusCode CodeOf(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
    case ncclInProgress:
      return absl::StatusCode::kOk;
    case ncclSystemError:
    case ncclRemoteError:
      return absl::StatusCode::kUnavailable;
    case ncclTimeout:
      return absl::StatusCode::kDeadlineExceeded;
    case ncclInvalidArgument:
      return absl::StatusCode::kInvalidArgument;
    case ncclInvalidUsage:
      return absl::StatusCode::kFailedPrecondition;
    default:  // ncclUnhandledCudaError, ncclInternalError, and what later versions add
      return absl::StatusCode::kInternal;
  }
}

absl::StatusCode CodeOf(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return absl::StatusCode::kOk;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorInitializationError:
    case cudaErrorStubLibrary:
    case cudaErrorDevicesUnavailable:
    case cudaErrorDeviceUninitialized:
    case cudaErrorDeviceAlreadyInUse:
    case cudaErrorDeviceNotLicensed:
    case cudaErrorStartupFailure:
    case cudaErrorCudartUnloading:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorMpsConnectionFailed:
    case cudaErrorMpsRpcFailure:
    case cudaErrorMpsServerNotReady:
    case cudaErrorMpsMaxClientsReached:
    case cudaErrorMpsMaxConnectionsReached:
    case cudaErrorMpsClientTerminated:
    case cudaErrorNotReady:
      return absl::StatusCode::kUnavailable;
    case cudaErrorMemoryAllocation:
    case cudaErrorLaunchOutOfResources:
      return absl::StatusCode::kResourceExhausted;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
    case cudaErrorInvalidDevicePointer:
    case cudaErrorInvalidHostPointer:
    case cudaErrorInvalidMemcpyDirection:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidPitchValue:
    case cudaErrorInvalidSymbol:
      return absl::StatusCode::kInvalidArgument;
    case cudaErrorNotSupported:
    case cudaErrorNotYetImplemented:
    case cudaErrorPeerAccessUnsupported:
      return absl::StatusCode::kUnimplemented;
    case cudaErrorNotPermitted:
      return absl::StatusCode::kPermissionDenied;
    case cudaErrorTimeout:
    case cudaErrorLaunchTimeout:
      return absl::StatusCode::kDeadlineExceeded;
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
      return absl::StatusCode::kDataLoss;
    default:
      return absl::StatusCode::kInternal;
  }
}

// "ncclSend" of "ncclSend(from, ...)".
absl::string_view Function(absl::string_view call) { return call.substr(0, call.find('(')); }

}  // namespace

absl::Status NcclStatus(int code, absl::string_view call) {
  const ncclResult_t result = static_cast<ncclResult_t>(code);
  if (CodeOf(result) == absl::StatusCode::kOk) return absl::OkStatus();
  std::string message = absl::StrCat("NCCL: ", Function(call), ": ", ncclGetErrorString(result));
  const char* last = ncclGetLastError(nullptr);
  if (last != nullptr && *last != '\0') absl::StrAppend(&message, " (", last, ")");
  return absl::Status(CodeOf(result), message);
}

absl::Status CudaStatus(int code, absl::string_view call) {
  const cudaError_t error = static_cast<cudaError_t>(code);
  if (error == cudaSuccess) return absl::OkStatus();
  // Otherwise the next library that asks for the last error would find ours.
  (void)cudaGetLastError();
  return absl::Status(CodeOf(error),
                      absl::StrCat("CUDA: ", Function(call), ": ", cudaGetErrorName(error), ": ",
                                   cudaGetErrorString(error)));
}

}  // namespace ds
