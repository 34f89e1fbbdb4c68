#include "comm/factory.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/mpi/mpi_communicator.h"
#include "comm/nccl/nccl_communicator.h"
#include "comm/single.h"

namespace ds {
namespace {

// The first of the variables that is set to a number.
bool FirstNumber(std::initializer_list<const char*> names, int* value) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text != nullptr && absl::SimpleAtoi(text, value)) return true;
  }
  return false;
}

}  // namespace

LaunchInfo DetectLaunch() {
  LaunchInfo info;
  info.launched = FirstNumber({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS"}, &info.size);
  if (!info.launched) return {};
  FirstNumber({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"}, &info.rank);
  FirstNumber({"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"}, &info.local_size);
  return info;
}

absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(const std::string& backend, absl::Duration timeout) {
  const LaunchInfo launch = DetectLaunch();
  std::string chosen = backend;
  if (backend == "auto") chosen = launch.launched ? "mpi" : "none";
  std::unique_ptr<Communicator> communicator;
  if (chosen == "none") {
    if (launch.size > 1) {
      return absl::InvalidArgumentError(absl::StrCat("comm.backend is none, but ", launch.size,
                                                     " ranks were started: each would train alone; use auto or mpi"));
    }
    communicator = CreateSingleCommunicator();
  } else if (chosen == "mpi") {
    DS_ASSIGN_OR_RETURN(communicator, CreateMpiCommunicator());
  } else if (chosen == "nccl") {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> bootstrap, CreateMpiCommunicator());
    DS_ASSIGN_OR_RETURN(communicator, CreateNcclCommunicator(std::move(bootstrap)));
  } else {
    return absl::InvalidArgumentError(absl::StrCat("unknown comm.backend '", backend, "'; it is one of auto, mpi, nccl, none"));
  }
  communicator->set_timeout(timeout);
  return communicator;
}

}  // namespace ds
