// NCCL and devices, simulated among the threads of a process, strict about what the real ones leave
// undefined.
//
// Device memory is mapped twice: the address that Allocate returns cannot be touched by the
// processor (a slip is a crash), View gives the one that can. Streams have a worker thread each. A
// group is put on its stream only once its communicator has been polled, as NCCL does on a
// nonblocking communicator. Misuse is collected in Violations: ordinary host memory given to the
// device, sends outside a group, calls on a communicator that is in progress or gone, the wrong
// device selected, ...
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/nccl/nccl_api.h"

namespace ds {

class FakeWorld;

class FakeCluster {
 public:
  // Each rank sees `devices_per_rank[r]` devices; those of one `hosts[r]` are the same ones.
  FakeCluster(std::vector<int> devices_per_rank, std::vector<std::string> hosts);
  // `ranks` ranks on one host, with as many devices.
  explicit FakeCluster(int ranks);
  ~FakeCluster();

  // The libraries as rank `rank`'s process sees them.
  NcclRuntime Runtime(int rank);

  // The `nth` call (from 1) of `function` ("Send", "CopyAsync", ...) by this rank from now on
  // returns `status`.
  void FailCall(int rank, const std::string& function, int nth, const absl::Status& status);
  // What NCCL notices in the background on all communicators of a rank.
  void SetAsyncError(int rank, const absl::Status& status);
  // Abort on this rank does not return before the cluster is destroyed.
  void HangAborts(int rank);
  // The devices of this rank do nothing any more, even after an abort, until the cluster is
  // destroyed.
  void HangStreams(int rank);

  // Device memory of this rank as the processor can reach it.
  absl::Span<std::byte> View(std::byte* device_memory);

  // The calls of a rank in order: "GroupStart", "Send 2 100" (peer, bytes), "Copy 256", ... Polls
  // are left out.
  std::vector<std::string> Trace(int rank) const;
  // "on device 1" for each communicator that a rank has set up.
  std::vector<int> DevicesOfCommunicators(int rank) const;
  std::vector<std::string> Violations() const;
  // What was created and never given back: "stream of rank 0", ...
  std::vector<std::string> Leaks() const;

 private:
  std::shared_ptr<FakeWorld> world_;
};

}  // namespace ds
