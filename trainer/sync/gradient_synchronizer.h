// Averages gradients over the ranks while the backward pass still runs.
//
// Hooks on the parameters fill buckets in reverse order of first use; one communication thread owns every call of its
// Communicator and launches buckets in index order on all ranks. Thread of use: the training thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "trainer/executor/graph_module.h"
#include "trainer/report/trace.h"

namespace ds {

struct GradientSynchronizerOptions {
  double bucket_mb = 4.0;   // MiB of fp32 a bucket
  bool overlap = true;      // false: all buckets go when Finish is called
  bool trace = false;
};

struct SyncStats {
  double exchange_ms = 0;        // wall time with an exchange under way
  double exposed_ms = 0;         // of it, not hidden: the wait in Finish
  int64_t wire_bytes = 0;        // sent by this rank in this step
  bool found_inf = false;        // any rank had a non-finite raw gradient
};

class GradientSynchronizer {
 public:
  // With a communicator of one rank the exchange is skipped and only the finite check remains.
  static absl::StatusOr<std::unique_ptr<GradientSynchronizer>> Create(
      GraphModule& module, Communicator& communicator, GradientSynchronizerOptions options);
  virtual ~GradientSynchronizer() = default;

  // Before the backward pass of the step's last micro-batch (earlier ones accumulate locally). `check_finite`: look
  // for Inf and NaN in the raw (scaled) gradients and OR the flag over the ranks.
  virtual absl::Status Begin(bool check_finite) = 0;
  // After it: waits until every gradient holds the mean over the ranks. A parameter that got no gradient counts as zeros.
  virtual absl::StatusOr<SyncStats> Finish() = 0;
  // The exchanges since the last call, on track "exchange": "bucket 0" and so on in each step, then "flag". Empty unless
  // options.trace.
  virtual std::vector<TraceSpan> TakeTrace() = 0;
};

}  // namespace ds
