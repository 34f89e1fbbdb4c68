#include <cstdio>

#include "comm/mpi/mpi_communicator.h"
#include "tests/contract/communicator_contract.h"

int main() {
  const absl::StatusOr<std::unique_ptr<ds::Communicator>> communicator =
      ds::CreateMpiCommunicator();
  if (!communicator.ok()) {
    std::fprintf(stderr, "%s\n", std::string(communicator.status().message()).c_str());
    return 1;
  }
  const std::vector<std::string> faults = ds::CheckContract(**communicator);
  for (const std::string& fault : faults)
    std::fprintf(stderr, "rank %d: %s\n", (*communicator)->rank(), fault.c_str());
  return faults.empty() ? 0 : 1;
}
