// One NCCL communicator with a stream of its own, in which every wait has a deadline. NCCL is used
// without blocking: a call that is still in progress is polled, together with the errors that NCCL
// notices in the background, until it is through.
//
// Threads: one at a time. The caller has `device` selected (DeviceScope) on the thread that calls.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "comm/nccl/nccl_api.h"

namespace ds {

class NcclSession {
 public:
  struct Outgoing {
    int peer;
    const std::byte* from;  // on the device, as is `into`
    size_t bytes;
  };
  struct Incoming {
    int peer;
    std::byte* into;
    size_t bytes;
  };

  struct Member {
    int device;
    int size;
    int rank;
    absl::Duration grace;  // for peers to close with this rank, for NCCL to abort, and for the
                           // device to stop after it
  };

  // Joins the group of `id`. Collective. DeadlineExceeded if not all ranks come before the
  // deadline.
  static absl::StatusOr<std::unique_ptr<NcclSession>> Create(NcclRuntime runtime,
                                                             const NcclUniqueId& id,
                                                             const Member& member,
                                                             Deadline deadline);
  // Closes the communicator with its peers; aborts it if they have not closed after the grace.
  ~NcclSession();
  NcclSession(const NcclSession&) = delete;
  NcclSession& operator=(const NcclSession&) = delete;

  // These enqueue in this order and return at once, but for Exchange, which returns when NCCL has
  // put its work on the stream.
  absl::Status Copy(std::byte* to, const std::byte* from, size_t bytes);
  absl::Status Exchange(absl::Span<const Outgoing> outgoing, absl::Span<const Incoming> incoming,
                        Deadline deadline);
  // All that was enqueued has been done. DeadlineExceeded, or the error that NCCL or the device ran
  // into.
  absl::Status AwaitIdle(Deadline deadline);

  // After any error: stops what runs on the device. Afterwards only the destructor may be called.
  // Takes as long as NCCL does, but no more than two graces; false if the device may even then
  // still read and write what was enqueued.
  bool Abort();

 private:
  NcclSession(NcclRuntime runtime, const Member& member)
      : runtime_(std::move(runtime)), member_(member) {}

  absl::Status AwaitSettled(Deadline deadline, const char* what);
  absl::Status Await(Deadline deadline, const char* what,
                     const std::function<absl::StatusOr<bool>()>& done);
  bool AbortOnOwnThread();
  void Close();

  const NcclRuntime runtime_;
  const Member member_;
  NcclComm comm_ = nullptr;        // null before Create has made it and after Abort
  DeviceStream stream_ = nullptr;  // on member_.device; nobody else enqueues here
};

}  // namespace ds
