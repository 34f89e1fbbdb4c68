// Averages gradients over the ranks while the backward pass still runs.
//
// Hooks on the parameters fill buckets in reverse order of first use; one communication thread owns
// every call of its Communicator and launches buckets in index order on all ranks. Thread of use:
// the training thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "comm/communicator.h"
#include "executor/graph_module.h"
#include "report/trace.h"
#include "trainer/sync/compression.h"
#include "trainer/sync/exchange_options.h"

namespace ds {

// Gradients from this magnitude on are treated as Inf: their squares, which norms and optimisers
// take, would leave float32 (2^128).
inline constexpr float kGreatestGradient = 0x1p63f;

// What a step needs to know beside the gradients; the same on every rank.
struct SyncStep {
  int64_t step = 0;       // of the run: keys rounding noise, ends the warm-up
  double loss_scale = 1;  // gradients come scaled by it, and leave without
};

struct SyncStats {
  double exchange_ms = 0;   // wall time with an exchange under way
  double exposed_ms = 0;    // of it, not hidden: the wait in Finish
  int64_t wire_bytes = 0;   // sent by this rank in this step
  bool watched = false;     // for the forecast: its exchange went after its compute, of which
                            // times.total() - exposed is seen alone
  bool overlapped = false;  // buckets could go while backward still ran
  bool found_inf = false;   // any rank had a non-finite raw gradient, or what came of them is not
  bool overflowed = false;  // the latter: float32, or the codec, could not hold it
  // The tensor that was seen to be so first: this rank's own raw gradient, or what came of all
  // ranks'; empty if neither was.
  std::string not_finite;
};

// What the exchange carries from step to step, as a checkpoint keeps it.
struct SyncState {
  std::string method;               // the one in use: what `auto` chose
  std::map<std::string, int> bits;  // of each compressed parameter, where bits are chosen
  CompressorState residuals;        // this rank's
};

// Whether entry `key` of SyncState::residuals is the same on every rank (PowerSGD's factors); the
// others are each rank's own.
bool IsSharedByRanks(absl::string_view key);

// For people, at the end of a run.
struct CompressionReport {
  double added_ms = -1;  // by which exchange lengthens a step, as foretold; below 0: not foretold
  std::string method;    // "none", "uniform, 4 bit", ...
  std::string reason;    // why `auto` chose it; empty otherwise
  int64_t raw_bytes_per_step = 0;  // what this rank would send in fp32
  double relative_error = -1;      // ||Q(g) - g|| / ||g|| of this rank's compressed gradients, last
                                   // measured; below 0: not measured
};

class GradientSynchronizer {
 public:
  // With a communicator of one rank the exchange is skipped and only the finite check remains.
  static absl::StatusOr<std::unique_ptr<GradientSynchronizer>> Create(
      GraphModule& module, Communicator& communicator, const ExchangeOptions& options);
  // One that exchanges nothing whatever the number of ranks: each has its own gradients
  // (local_steps.h).
  static std::unique_ptr<GradientSynchronizer> CreateLocal(const GraphModule& module);
  virtual ~GradientSynchronizer() = default;

  // Before the backward pass of the step's last micro-batch (earlier ones accumulate locally).
  // FailedPrecondition between Begin and Finish.
  virtual absl::Status Begin(const SyncStep& step) = 0;
  // Between the two: whatever its gradients, this rank does not want the step. It counts as one
  // whose gradients are not finite.
  virtual void Refuse() = 0;
  // After it: waits until every gradient holds the mean over the ranks, without the loss scale. A
  // parameter that got no gradient on a rank counts as zeros there; one that got none on any has
  // none afterwards, as with one rank, so that the optimiser leaves it alone. If any rank's
  // gradients, or their mean, were not finite, what they hold now means nothing, and no residual
  // has changed.
  virtual absl::StatusOr<SyncStats> Finish() = 0;
  // In place of Finish, and of Begin if that was not called yet, where this rank has no gradients
  // to give: its forward or backward pass failed. All ranks skip the step (found_inf), none waits
  // for this one, and the next step may begin.
  virtual absl::StatusOr<SyncStats> Abandon(const SyncStep& step) = 0;
  // The exchanges since the last call, on track "exchange": "bucket 0" and so on in each step, then
  // "flag". Empty unless options.trace.
  virtual std::vector<TraceSpan> TakeTrace() = 0;

  // Between steps. ImportState takes what belongs to this rank (ResidualSum); collective.
  virtual SyncState ExportState() const = 0;
  virtual absl::Status ImportState(const SyncState& state) = 0;
  virtual CompressionReport Report() const = 0;
};

}  // namespace ds
