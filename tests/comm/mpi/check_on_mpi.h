// For programs that run under mpirun, every rank one member of the group.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "comm/mpi/mpi_communicator.h"

namespace ds {

// Runs `check` on this process's communicator and prints the faults that it returns. The program's
// exit code.
inline int CheckOnMpi(std::vector<std::string> (*check)(Communicator&)) {
  const absl::StatusOr<std::unique_ptr<Communicator>> communicator = CreateMpiCommunicator();
  if (!communicator.ok()) {
    std::fprintf(stderr, "%s\n", std::string(communicator.status().message()).c_str());
    return 1;
  }
  const std::vector<std::string> faults = check(**communicator);
  for (const std::string& fault : faults)
    std::fprintf(stderr, "rank %d: %s\n", (*communicator)->rank(), fault.c_str());
  return faults.empty() ? 0 : 1;
}

}  // namespace ds
