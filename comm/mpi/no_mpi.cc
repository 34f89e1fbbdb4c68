#include "comm/mpi/mpi_communicator.h"

namespace ds {

absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(absl::Duration) {
  return absl::UnavailableError(
      "this program was built without MPI; install libopenmpi-dev and configure with "
      "-DDS_ENABLE_MPI=ON");
}

void AbortMpiJob(int) {}

}  // namespace ds
