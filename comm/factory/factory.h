// The backend that a run asks for.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/launch_info.h"

namespace ds {

struct CommOptions {
  // auto | mpi | nccl | none. `auto` is mpi under a launcher, none otherwise; never nccl: gradients
  // are computed in host memory today, and the way through a device would be a detour. NCCL's ranks
  // find each other over MPI.
  std::string backend = "auto";
  double timeout_s = 600;  // longest wait of one call, seconds, > 0
};

// InvalidArgument for "none" in a job of several ranks (each would train alone) and for unknown
// names; FailedPrecondition if MPI sees another number of ranks than were started (alone again);
// Unavailable for a backend that was not built or finds no device.
absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(
    const CommOptions& options, const LaunchInfo& launch = DetectLaunch());

}  // namespace ds
