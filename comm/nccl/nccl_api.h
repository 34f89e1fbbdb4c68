// What the backend asks of NCCL, as an interface: CreateNcclRuntime's implementation calls the
// library, that of the tests simulates it among threads. Errors carry NCCL's own words
// (nccl_errors.h); "in progress" is no error.
//
// Threads: one at a time per communicator; a group belongs to the thread that started it.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/nccl/device_api.h"

namespace ds {

using NcclComm = struct NcclCommHandle*;
using NcclUniqueId = std::array<std::byte, 128>;

class NcclApi {
 public:
  virtual ~NcclApi() = default;

  virtual absl::StatusOr<NcclUniqueId> MakeUniqueId() = 0;

  // Begins to set up a nonblocking communicator on the selected device. It may be used when Settled
  // says so; until it is destroyed or aborted it is the caller's.
  virtual absl::StatusOr<NcclComm> StartInit(int size, const NcclUniqueId& id, int rank) = 0;
  // Is the last call on `comm` through, so that the next may be made and its work lies on the
  // stream? Never waits. Errors that NCCL noticed meanwhile (a peer that is gone) come back here.
  virtual absl::StatusOr<bool> Settled(NcclComm comm) = 0;

  // Between GroupStart and GroupEnd all messages make progress together. GroupEnd must follow
  // GroupStart, whatever happened between.
  virtual absl::Status GroupStart() = 0;
  virtual absl::Status Send(const std::byte* from, size_t bytes, int peer, NcclComm comm,
                            DeviceStream stream) = 0;
  virtual absl::Status Receive(std::byte* into, size_t bytes, int peer, NcclComm comm,
                               DeviceStream stream) = 0;
  virtual absl::Status GroupEnd() = 0;

  // Finalize, wait for Settled, Destroy; or at any moment Abort, which stops what runs on the
  // device. Abort may wait.
  virtual absl::Status Finalize(NcclComm comm) = 0;
  virtual absl::Status Destroy(NcclComm comm) = 0;
  virtual absl::Status Abort(NcclComm comm) = 0;
};

// Shared by a communicator, its duplicates and, while it runs, the thread that aborts one of them.
struct NcclRuntime {
  std::shared_ptr<NcclApi> nccl;
  std::shared_ptr<DeviceApi> device;
};

// The real libraries. Unavailable if this program was built without them.
absl::StatusOr<NcclRuntime> CreateNcclRuntime();

}  // namespace ds
