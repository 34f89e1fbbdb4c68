// The MPI backend. Bytes move with nonblocking point-to-point calls, tested until a deadline, so that no wait is for ever and a
// waiting rank leaves its core to the compute threads.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/communicator.h"

namespace ds {

// Initialises MPI (with MPI_THREAD_MULTIPLE: the gradient exchange has a thread of its own) unless the program has, and wraps a
// duplicate of MPI_COMM_WORLD. MPI is finalised when the last communicator goes, if it was initialised here and none of them is broken.
// Unavailable if it was built without MPI; FailedPrecondition if the library gives too low a thread level.
absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(absl::Duration timeout = absl::Minutes(10));

// Ends all ranks of the job at once, for a rank that failed alone while others wait for it. Does not return when MPI runs.
void AbortMpiJob(int exit_code);

}  // namespace ds
