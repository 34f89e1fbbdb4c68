#include "comm/factory/factory.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "comm/inprocess/single.h"
#include "comm/mpi/mpi_communicator.h"
#include "comm/nccl/nccl_communicator.h"

namespace ds {
namespace {

absl::StatusOr<std::unique_ptr<Communicator>> CreateNone(const LaunchInfo& launch) {
  if (launch.size != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "comm.backend is none, but ", launch.size == 0 ? "several" : absl::StrCat(launch.size),
        " ranks were started: each would train alone; use auto or mpi"));
  }
  return CreateSingleCommunicator();
}

// An MPI library that the launcher does not know starts every process as a job of its own.
absl::StatusOr<std::unique_ptr<Communicator>> CreateMpi(const LaunchInfo& launch,
                                                        absl::Duration timeout) {
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> communicator, CreateMpiCommunicator(timeout));
  if (launch.launched && launch.size > 0 && communicator->size() != launch.size) {
    return absl::FailedPreconditionError(
        absl::StrCat(launch.size, " ranks were started, but MPI sees ", communicator->size(),
                     ": each would train alone. Start them with the mpirun of the MPI library that "
                     "this program was built with, or with srun "
                     "--mpi=pmix (srun --mpi=list shows what there is)"));
  }
  return communicator;
}

absl::StatusOr<std::unique_ptr<Communicator>> CreateNccl(const LaunchInfo& launch,
                                                         absl::Duration timeout) {
  std::unique_ptr<Communicator> bootstrap = CreateSingleCommunicator();
  if (launch.launched) {
    DS_ASSIGN_OR_RETURN(bootstrap, CreateMpi(launch, timeout));
  }
  return CreateNcclCommunicator(std::move(bootstrap), {.timeout = timeout});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(const CommOptions& options,
                                                                 const LaunchInfo& launch) {
  const std::string& backend = options.backend;
  const absl::Duration timeout = absl::Seconds(options.timeout_s);
  const std::string chosen = backend != "auto" ? backend : launch.launched ? "mpi" : "none";
  if (chosen == "none") return CreateNone(launch);
  if (chosen == "mpi") return CreateMpi(launch, timeout);
  if (chosen == "nccl") return CreateNccl(launch, timeout);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown comm.backend '", backend, "'; it is one of auto, mpi, nccl, none"));
}

}  // namespace ds
