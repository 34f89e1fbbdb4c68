#include "comm/nccl/nccl_communicator.h"

namespace ds {

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(std::unique_ptr<Communicator>) {
  return absl::UnavailableError("this program was built without NCCL; use comm.backend mpi or auto");
}

}  // namespace ds
