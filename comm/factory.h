// The backend that a run asks for.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace ds {

// What started this process, read from the environment in this one place.
struct LaunchInfo {
  bool launched = false;  // by mpirun, srun or another PMI launcher
  int rank = 0;
  int size = 1;
  int local_size = 1;     // ranks on this host
};
LaunchInfo DetectLaunch();

// backend: auto | mpi | nccl | none. `auto` is mpi under a launcher, none otherwise. InvalidArgument for "none" in a job of several
// ranks (each would train alone) and for unknown names; Unavailable for a backend that was not built or finds no device.
absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(const std::string& backend, absl::Duration timeout);

}  // namespace ds
