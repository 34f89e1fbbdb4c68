// The MPI backend. Bytes move with nonblocking point-to-point calls, tested until a deadline, so
// that no wait is for ever and a waiting rank leaves its core to the compute threads.
//
// A peer that is killed or hangs: Open MPI does not report it, so waits on it end as
// DeadlineExceeded. By default mpirun then has already ended the whole job, within seconds of a
// death; under mpirun --enable-recovery, or for a rank that merely hangs, the deadline is what ends
// it (tests/comm/mpi/kill_test.py).
//
// Calls of MPI are made on a thread that each communicator has for them: where MPI itself does not
// return (mpi_link.h), a wait ends a second after its deadline. Buffers of such a call may then
// still be read and written, should it come back to life.
//
// After an error every communicator of the process is broken: a message still under way could
// otherwise arrive, during some later call, in memory that is the caller's again.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/communicator.h"

namespace ds {

// Initialises MPI (with MPI_THREAD_MULTIPLE: the gradient exchange has a thread of its own) unless
// the program has, and wraps a duplicate of MPI_COMM_WORLD. Collective; `timeout` is that of the
// wrapping and, until set_timeout, of each call. MPI_Init itself has no deadline; the launcher's
// applies. MPI is finalised when the last communicator goes, if it was initialised here and none is
// broken; that wait too ends after the first communicator's `timeout`. SIGPIPE, if it has its
// default action, is ignored from now on: over TCP a dead peer would kill this process with it.
// Unavailable if it was built without MPI; FailedPrecondition if the library gives too low a thread
// level.
absl::StatusOr<std::unique_ptr<Communicator>> CreateMpiCommunicator(
    absl::Duration timeout = absl::Minutes(10));

// Ends all ranks of the job at once, for a rank that failed alone while others wait for it. Does
// not return when MPI runs.
void AbortMpiJob(int exit_code);

}  // namespace ds
