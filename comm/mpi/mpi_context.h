// MPI's life in this process, and waits on its requests that end. Private to the MPI backend.
#pragma once

#include <mpi.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace ds {

// Shared by all communicators: MPI is initialised (unless the program has) when the first comes and
// finalised, if it was initialised here, when the last goes. Thread-safe.
class MpiContext {
 public:
  // `timeout`: how long this rank waits at its end for the others to come to theirs.
  // FailedPrecondition if MPI has been finalised, or gives too low a thread level.
  static absl::StatusOr<std::shared_ptr<MpiContext>> Create(absl::Duration timeout);
  ~MpiContext();

  // Whether this rank has less than a core of its own.
  bool ranks_share_cores() const { return ranks_share_cores_; }

  // After an operation that failed or did not end, its messages may still be under way, into memory
  // that is the caller's again; they arrive only while some call of MPI runs. So none must follow:
  // this fails all communicators, and MPI is not finalised, which would wait for the peer that is
  // gone.
  void Break(const absl::Status& error);
  // The first error given to Break; OK while there was none.
  absl::Status broken() const;

 private:
  MpiContext(bool owned, absl::Duration timeout) : owned_(owned), timeout_(timeout) {}
  void Finalize();

  const bool owned_;
  const absl::Duration timeout_;
  bool ranks_share_cores_ = false;
  mutable Mutex mutex_;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);
};

// How a wait goes and what is said when it does not end.
struct MpiWait {
  Deadline deadline;
  bool eager = false;  // look all the time at first, before the core is left to others
  int rank = 0;        // that waits
  std::string what = "the other ranks";
  absl::Span<const int> peers;  // of each request, where it has one; those missing are named
};

// Tests the requests until all are done or the deadline is past, leaving the core to others between
// tests. Returns MPI's code, or DeadlineExceeded naming the rank and what it waited for.
// `statuses`: empty, or one a request.
absl::StatusOr<int> AwaitMpiRequests(absl::Span<MPI_Request> requests,
                                     absl::Span<MPI_Status> statuses, const MpiWait& wait);

}  // namespace ds
