// Local steps with an outer optimiser (Douillard et al. 2023, "DiLoCo: Distributed
// Low-Communication Training of Language Models", algorithm 1): ranks train alone, each with its
// own optimiser, and meet once in a while. docs/local_steps.md
//
//   repeat `every` times, on each rank:
//     x <- the inner optimiser's step            no exchange of any kind
//   outer step, all ranks:
//     d <- mean over ranks of (anchor - x)       as gradients travel: compressed, error fed back
//     v <- momentum v + d
//     anchor <- anchor - learning_rate (d + momentum v)     Nesterov, docs/optimisers.md (sgd)
//     x <- anchor                                the same bits on every rank
//
// A change that is not finite, on any rank, or a mean, v or anchor that would not be, is never
// applied: the round is discarded, and all ranks go back to the anchor with anchor, v and residuals
// as they were. Memory: three floats a
// parameter, and the compressor's.
//
// Thread of use: the training thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "executor/graph_module.h"
#include "trainer/sync/exchange_options.h"
#include "trainer/sync/flat_buckets.h"
#include "trainer/sync/gradient_exchange.h"

namespace ds {

struct OuterStats {
  SyncStats sync;              // found_inf: the round was discarded, on every rank
  bool mine_is_finite = true;  // this rank's own change was
};

class LocalSteps {
 public:
  // The anchor is what the module holds, the same on every rank. The module's tensors are shared.
  // Of `exchange`, overlap and forecast are for gradients. Collective. InvalidArgument for bad
  // options.
  static absl::StatusOr<std::unique_ptr<LocalSteps>> Create(const GraphModule& module,
                                                            Communicator& communicator,
                                                            const LocalStepsOptions& options,
                                                            const ExchangeOptions& exchange = {});

  // How many local steps the caller is to take before the outer one.
  int64_t every() const { return options_.every; }
  // Before a round's first local step: what the module holds, the same on every rank, is the
  // anchor. It need not be what the last outer step left: a stage of quantisation-aware training
  // may have begun in between, say.
  void BeginRound();
  // The outer step, from whatever the module's parameters hold. Collective. The communicator's
  // errors, after which this is of no more use.
  absl::StatusOr<OuterStats> OuterStep();

  int64_t outer_steps() const { return outer_steps_; }  // so far, discarded ones included
  int64_t discarded_in_a_row() const { return discarded_in_a_row_; }
  // The exchanges since the last call, as GradientSynchronizer::TakeTrace.
  std::vector<TraceSpan> TakeTrace() { return std::exchange(trace_, {}); }

  // What the outer optimiser carries along, the same on every rank: "velocity/<parameter>" (v),
  // "step" and "discarded_in_a_row" (int64 scalars). Copies. The anchor is the module's own
  // parameters: state is taken right after an outer step.
  std::map<std::string, at::Tensor> State() const;
  // NotFound / InvalidArgument naming a missing, unknown or misshapen entry; nothing is changed
  // then.
  absl::Status LoadState(const std::map<std::string, at::Tensor>& state);

  // Of the exchange, as GradientSynchronizer has them.
  SyncState ExportExchange() const { return exchange_->ExportState(); }
  absl::Status ImportExchange(const SyncState& state) { return exchange_->ImportState(state); }
  CompressionReport Report() const { return exchange_->Report(); }

 private:
  LocalSteps(const GraphModule& module, const LocalStepsOptions& options, bool trace)
      : options_(options), traced_(trace), parameters_(module.parameters()) {}
  void FillChange();
  // Names of the first parameter whose own change, or whose move of the anchor, is not finite;
  // empty: none. With finite changes too the outer learning rate may lead out of float32.
  std::string FirstBadChange() const;
  std::string FirstBadMove();
  // Calls move(v, next v, anchor, next anchor) for each element.
  template <typename F>
  void ForEachMove(size_t parameter, F move);
  void MoveAnchor();
  void ReturnToAnchor();

  const LocalStepsOptions options_;
  const bool traced_;
  const std::vector<NamedTensor> parameters_;
  FlatBuckets anchor_, velocity_, change_;      // of one plan
  std::unique_ptr<GradientExchange> exchange_;  // over change_
  int64_t outer_steps_ = 0;
  int64_t discarded_in_a_row_ = 0;
  std::vector<TraceSpan> trace_;
};

// Counters of which each rank has its own between outer steps.
struct LocalCounters {
  double loss_scale = 1;
  int64_t good_steps = 0;  // since the loss scale changed
  int64_t growths = 0, backoffs = 0;
  int64_t scaler_skipped = 0;
  int64_t skipped = 0;  // in this round
  int64_t skipped_in_a_row = 0;
};

// What all ranks go on with: the least loss scale and good steps, the sum of `skipped`, the
// greatest of the others. Collective.
absl::StatusOr<LocalCounters> Agree(const LocalCounters& mine, Communicator& communicator);

}  // namespace ds
