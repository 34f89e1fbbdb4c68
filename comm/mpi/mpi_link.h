// A duplicate of an MPI communicator and the calls that move bytes over it. Private to the MPI
// backend.
//
// Runs on a CallThread, because a call of MPI may not return: Open MPI 4.1 waits for itself for
// ever when a TCP peer dies at the wrong moment (it closes the connection while it sends on it,
// under a lock).
#pragma once

#include <mpi.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "comm/mpi/mpi_context.h"

namespace ds {

class MpiLink {
 public:
  // Collective over `parent`.
  static absl::StatusOr<std::shared_ptr<MpiLink>> Create(std::shared_ptr<MpiContext> context,
                                                         MPI_Comm parent, Deadline deadline);
  // Over the ranks of `parent` that give the same `color`, in the order of `key`; null for
  // MPI_UNDEFINED. Collective over `parent`.
  static absl::StatusOr<std::shared_ptr<MpiLink>> Split(std::shared_ptr<MpiContext> context,
                                                        MPI_Comm parent, int color, int key);
  // Frees nothing: Free does.
  ~MpiLink() = default;

  MPI_Comm comm() const { return comm_; }
  int rank() const { return rank_; }
  int size() const { return size_; }

  // As ExchangeCollectives::Transfer. After an error the context is broken.
  absl::Status Transfer(const std::vector<absl::Span<const std::byte>>& send,
                        const std::vector<absl::Span<std::byte>>& receive, Deadline deadline);
  // Collective, but for a broken context, with which it does nothing.
  void Free();

 private:
  explicit MpiLink(std::shared_ptr<MpiContext> context) : context_(std::move(context)) {}

  absl::Status Start(const std::vector<absl::Span<const std::byte>>& send,
                     const std::vector<absl::Span<std::byte>>& receive);
  absl::Status CheckStatuses(int code);
  void Abandon(const absl::Status& error);

  const std::shared_ptr<MpiContext> context_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  std::vector<MPI_Request> requests_;  // of the current transfer: receives, then sends
  std::vector<MPI_Status> statuses_;
  std::vector<int> expected_;  // bytes of each receive
  std::vector<int> peers_;     // of each request
};

}  // namespace ds
