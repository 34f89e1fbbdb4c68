// A group of ranks that exchange host buffers (with NCCL, device buffers too). Small on purpose:
// compressed all-reduce, hierarchies and gradient exchange are written once over it.
//
// Threads: one thread at a time per communicator. Collectives are called by all ranks in the same
// order with the same sizes. Every call ends by its deadline: DeadlineExceeded, or Unavailable if a
// peer is known to be gone; after such an error the communicator is broken and every later call
// returns the first error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/tensor/dtype.h"

namespace ds {

enum class ReduceOp { kSum, kMax, kMin };

// Elements in host memory, or, for NCCL only, in memory of the communicator's own device
// (nccl_communicator.h says when it is read and written).
struct MutableBuffer {
  std::byte* data = nullptr;
  int64_t count = 0;  // elements
  DType dtype = DType::kFloat32;

  template <typename T>
  static MutableBuffer Of(absl::Span<T> span) {
    return {reinterpret_cast<std::byte*>(span.data()), static_cast<int64_t>(span.size()),
            DTypeOf<T>::value};
  }
  int64_t size_bytes() const { return ByteSize(dtype, count); }
};

// Bytes handed to and taken from the transport for other ranks, counted at the backend's calls.
struct WireStats {
  int64_t bytes_sent = 0;
  int64_t bytes_received = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // "mpi", "nccl", "inprocess", "none".
  virtual absl::string_view backend() const = 0;

  // In place, element-wise; the result is bit-identical on all ranks and between runs. Types:
  // float32, float64, int32, int64, uint8. InvalidArgument otherwise.
  virtual absl::Status AllReduce(MutableBuffer buffer, ReduceOp op) = 0;
  // `root`'s bytes arrive on every rank.
  virtual absl::Status Broadcast(absl::Span<std::byte> bytes, int root) = 0;
  // output = input of rank 0, input of rank 1, ... (output.size() == size() * input.size()).
  virtual absl::Status AllGather(absl::Span<const std::byte> input,
                                 absl::Span<std::byte> output) = 0;
  // Sends `send[r]` to rank r and receives `receive[r]` from it, all pairs at once (sizes may
  // differ by pair and be 0; both sides know them). Entry rank() is copied locally and not counted
  // as wire bytes.
  virtual absl::Status Exchange(absl::Span<const absl::Span<const std::byte>> send,
                                absl::Span<const absl::Span<std::byte>> receive) = 0;
  virtual absl::Status Barrier() = 0;

  // Longest that one call may take, by the monotonic clock. Default 10 minutes.
  virtual absl::Duration timeout() const = 0;
  virtual void set_timeout(absl::Duration timeout) = 0;
  virtual WireStats wire_stats() const = 0;
  // A second, independent communicator over the same ranks (for another thread). Collective.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() = 0;
  // New communicators, independent of this one, over the ranks that give the same `color`, ordered
  // by `key` and then by rank. A rank with color kNoGroup gets null. Any other negative color is
  // InvalidArgument, before anything is sent. Collective.
  static constexpr int kNoGroup = -1;
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) = 0;
};

}  // namespace ds
