// The real libraries behind NcclApi and DeviceApi: one call each, and its error.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <utility>

#include "base/status.h"
#include "comm/nccl/nccl_api.h"
#include "comm/nccl/nccl_errors.h"

namespace ds {
namespace {

static_assert(NCCL_VERSION_CODE >= NCCL_VERSION(2, 18, 1),
              "nonblocking point-to-point groups need NCCL 2.18 or newer");
static_assert(sizeof(ncclUniqueId) == sizeof(NcclUniqueId));

ncclComm_t Raw(NcclComm comm) { return reinterpret_cast<ncclComm_t>(comm); }
cudaStream_t Raw(DeviceStream stream) { return reinterpret_cast<cudaStream_t>(stream); }

class CudaDevice final : public DeviceApi {
 public:
  absl::StatusOr<int> Count() override {
    int count = 0;
    DS_RETURN_IF_CUDA_ERROR(cudaGetDeviceCount(&count));
    if (count == 0) return absl::UnavailableError("CUDA: cudaGetDeviceCount: there is no device");
    return count;
  }

  absl::StatusOr<std::string> BusId(int device) override {
    char text[32] = "";
    DS_RETURN_IF_CUDA_ERROR(cudaDeviceGetPCIBusId(text, sizeof(text), device));
    return std::string(text);
  }

  absl::StatusOr<int> Selected() override {
    int device = 0;
    DS_RETURN_IF_CUDA_ERROR(cudaGetDevice(&device));
    return device;
  }

  absl::Status Select(int device) override {
    return CudaStatus(cudaSetDevice(device), "cudaSetDevice");
  }

  absl::StatusOr<MemoryPlace> Place(const std::byte* address) override {
    cudaPointerAttributes attributes;
    DS_RETURN_IF_CUDA_ERROR(cudaPointerGetAttributes(&attributes, address));
    return MemoryPlace{attributes.type == cudaMemoryTypeDevice, attributes.device};
  }

  absl::StatusOr<std::byte*> Allocate(size_t bytes, MemoryKind kind) override {
    void* memory = nullptr;
    if (kind == MemoryKind::kDevice) {
      DS_RETURN_IF_CUDA_ERROR(cudaMalloc(&memory, bytes));
    } else {
      DS_RETURN_IF_CUDA_ERROR(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable));
    }
    return static_cast<std::byte*>(memory);
  }

  void Free(std::byte* memory, MemoryKind kind) override {
    (void)(kind == MemoryKind::kDevice ? cudaFree(memory) : cudaFreeHost(memory));
  }

  absl::StatusOr<DeviceStream> CreateStream() override {
    cudaStream_t stream = nullptr;
    // Not to wait for whatever else the program runs on the default stream.
    DS_RETURN_IF_CUDA_ERROR(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return reinterpret_cast<DeviceStream>(stream);
  }

  void DestroyStream(DeviceStream stream) override { (void)cudaStreamDestroy(Raw(stream)); }

  absl::Status CopyAsync(std::byte* to, const std::byte* from, size_t bytes,
                         DeviceStream stream) override {
    return CudaStatus(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, Raw(stream)),
                      "cudaMemcpyAsync");
  }

  absl::StatusOr<bool> Idle(DeviceStream stream) override {
    const cudaError_t code = cudaStreamQuery(Raw(stream));
    if (code == cudaErrorNotReady) {
      (void)cudaGetLastError();  // CUDA remembers even this as an error
      return false;
    }
    DS_RETURN_IF_ERROR(CudaStatus(code, "cudaStreamQuery"));
    return true;
  }
};

class NcclLibrary final : public NcclApi {
 public:
  absl::StatusOr<NcclUniqueId> MakeUniqueId() override {
    ncclUniqueId raw;
    DS_RETURN_IF_NCCL_ERROR(ncclGetUniqueId(&raw));
    NcclUniqueId id;
    std::memcpy(id.data(), raw.internal, id.size());
    return id;
  }

  absl::StatusOr<NcclComm> StartInit(int size, const NcclUniqueId& id, int rank) override {
    ncclUniqueId raw;
    std::memcpy(raw.internal, id.data(), id.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    const absl::Status status = NcclStatus(ncclCommInitRankConfig(&comm, size, raw, rank, &config),
                                           "ncclCommInitRankConfig");
    if (!status.ok() && comm != nullptr) (void)ncclCommAbort(comm);
    DS_RETURN_IF_ERROR(status);
    return reinterpret_cast<NcclComm>(comm);
  }

  absl::StatusOr<bool> Settled(NcclComm comm) override {
    ncclResult_t state = ncclSuccess;
    DS_RETURN_IF_NCCL_ERROR(ncclCommGetAsyncError(Raw(comm), &state));
    DS_RETURN_IF_ERROR(NcclStatus(state, "ncclCommGetAsyncError"));
    return state != ncclInProgress;
  }

  absl::Status GroupStart() override { return NcclStatus(ncclGroupStart(), "ncclGroupStart"); }

  absl::Status Send(const std::byte* from, size_t bytes, int peer, NcclComm comm,
                    DeviceStream stream) override {
    return NcclStatus(ncclSend(from, bytes, ncclUint8, peer, Raw(comm), Raw(stream)), "ncclSend");
  }

  absl::Status Receive(std::byte* into, size_t bytes, int peer, NcclComm comm,
                       DeviceStream stream) override {
    return NcclStatus(ncclRecv(into, bytes, ncclUint8, peer, Raw(comm), Raw(stream)), "ncclRecv");
  }

  absl::Status GroupEnd() override { return NcclStatus(ncclGroupEnd(), "ncclGroupEnd"); }
  absl::Status Finalize(NcclComm comm) override {
    return NcclStatus(ncclCommFinalize(Raw(comm)), "ncclCommFinalize");
  }
  absl::Status Destroy(NcclComm comm) override {
    return NcclStatus(ncclCommDestroy(Raw(comm)), "ncclCommDestroy");
  }
  absl::Status Abort(NcclComm comm) override {
    return NcclStatus(ncclCommAbort(Raw(comm)), "ncclCommAbort");
  }
};

}  // namespace

absl::StatusOr<NcclRuntime> CreateNcclRuntime() {
  return NcclRuntime{std::make_shared<NcclLibrary>(), std::make_shared<CudaDevice>()};
}

}  // namespace ds
