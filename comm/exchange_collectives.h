// Collectives written once over Exchange, so that a backend only has to move bytes between pairs.
//
// All-reduce is two-shot: rank r receives chunk r of every rank, adds them in rank order and sends
// the sum to all. The result does not depend on timing, and every rank holds the same bits. A rank
// sends 2 (p-1)/p of the buffer, the least there is.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "comm/communicator.h"

namespace ds {

// Bytes that `rank` sends in an AllReduce of `count` elements of `element_bytes`.
int64_t AllReduceWireBytes(int64_t count, int64_t element_bytes, int ranks, int rank);

class ExchangeCollectives : public Communicator {
 public:
  absl::Status AllReduce(MutableBuffer buffer, ReduceOp op) final;
  absl::Status Broadcast(absl::Span<std::byte> bytes, int root) final;
  absl::Status AllGather(absl::Span<const std::byte> input, absl::Span<std::byte> output) final;
  absl::Status Exchange(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive) final;
  absl::Status Barrier() final;
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) final;
  absl::Duration timeout() const final { return timeout_; }
  void set_timeout(absl::Duration timeout) final { timeout_ = timeout; }
  WireStats wire_stats() const final { return stats_; }

 protected:
  // Moves the bytes between this rank and all others (entries of rank() are empty) before
  // `deadline`.
  virtual absl::Status Transfer(absl::Span<const absl::Span<const std::byte>> send,
                                absl::Span<const absl::Span<std::byte>> receive,
                                Deadline deadline) = 0;
  // A communicator over `members`, ranks of this one in their new order, this rank among them, for
  // everybody who gave `color`; null for kNoGroup, with no members. Called by all ranks, all of
  // which know all groups.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(
      int color, absl::Span<const int> members) = 0;
  // Copies between two buffers of this rank, of the same size, that may be one. Override where the
  // processor cannot reach them.
  virtual absl::Status CopyLocal(absl::Span<std::byte> to, absl::Span<const std::byte> from,
                                 Deadline deadline);
  // The error that broke this communicator, OK while it is whole. Duplicate returns it.
  const absl::Status& broken() const { return broken_; }

 private:
  Deadline ForSecondShot(Deadline deadline) const;
  absl::Status ExchangeUntil(Deadline deadline, absl::Span<const absl::Span<const std::byte>> send,
                             absl::Span<const absl::Span<std::byte>> receive);

  absl::Duration timeout_ = absl::Minutes(10);
  WireStats stats_;
  absl::Status broken_;             // the first error; every later call returns it
  std::vector<std::byte> scratch_;  // chunks of the other ranks
};

}  // namespace ds
