// The NCCL backend, for ranks with a device each. Bytes move with grouped ncclSend and ncclRecv;
// sums are made on the host in rank order (ExchangeCollectives), so that results have the bits of
// every other backend's.
//
// Memory: each buffer of a call may lie in host memory (ordinary, pinned or managed) or on the
// communicator's device; buffers on another device are InvalidArgument. Host buffers go through
// pinned and device blocks that the communicator keeps (staging.h). Whatever writes a device buffer
// must have finished before the call, on whichever stream it ran: the communicator's own stream
// waits for no other. When a call returns, the results are there for every stream. AllReduce copies
// a device buffer's chunks to the host to add them. The exception is an error after which Abort did
// not succeed (a warning is logged): device buffers of that call may then still be written to.
//
// Threads: one at a time per communicator, any thread; each call selects the device for its
// duration and restores the thread's own afterwards. A duplicate may be used by another thread
// meanwhile; both then occupy the device at once.
//
// Deadlines: NCCL is never blocked on. At a deadline or an error, NCCL's own (a peer that it lost
// is Unavailable) or the device's, the communicator is aborted, which takes at most two graces
// more, and is broken from then on.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "comm/communicator.h"
#include "comm/nccl/nccl_api.h"

namespace ds {

struct NcclOptions {
  int device = -1;  // of those this process sees; -1: this rank's place among the ranks of its host
  absl::Duration timeout = absl::Minutes(10);  // of the set-up, then of each call until set_timeout
  absl::Duration grace = absl::Seconds(
      5);  // for peers to close with this rank, for NCCL to abort, for the device to stop then
  std::string host;  // names this machine; empty: ThisHost() of comm/hosts.h
};

// Collective over `bootstrap`, any communicator that needs no device. It carries what ranks must
// agree on, NCCL's unique id among it, is kept for Duplicate, and used for nothing else. All ranks
// get the first rank's error: Unavailable if one was built without NCCL or sees no device,
// FailedPrecondition if two would share one; DeadlineExceeded if a rank does not come.
absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(
    std::unique_ptr<Communicator> bootstrap, const NcclOptions& options = {});
// The same over the given libraries.
absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(
    NcclRuntime runtime, std::unique_ptr<Communicator> bootstrap, const NcclOptions& options = {});

}  // namespace ds
