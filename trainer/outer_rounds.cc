// MixedPrecisionTrainer with local steps: what happens when a round of them ends.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "trainer/buffer_snapshot.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {
namespace {

// Momentum that led to Inf or NaN would lead there again, from any weights.
absl::Status StartAnew(Optimizer& optimizer) {
  std::map<std::string, at::Tensor> state = optimizer.State();
  for (auto& [name, tensor] : state) tensor.zero_();
  return optimizer.LoadState(state);
}

}  // namespace

absl::Status MixedPrecisionTrainer::EndRound(StepReport& report,
                                             const std::vector<Batch>& micro_batches) {
  const double start_s = SteadySeconds();
  DS_ASSIGN_OR_RETURN(const OuterStats outer, local_steps_->OuterStep());
  const bool discarded = outer.sync.found_inf;
  report.skipped = report.skipped || discarded;
  report.wire_bytes += outer.sync.wire_bytes;
  report.times.exchange += outer.sync.exchange_ms;
  report.times.exchange_exposed += outer.sync.exposed_ms;
  model_.PutInRange();
  if (discarded) round_buffers_->Restore();
  if (!outer.mine_is_finite) DS_RETURN_IF_ERROR(StartAnew(optimizer_));
  if (ema_ != nullptr && !discarded) ema_->Update(round_steps_);
  DS_RETURN_IF_ERROR(AgreeOnCounters(report, discarded));
  round_steps_ = round_skipped_ = 0;
  report.times.optimizer += 1e3 * (SteadySeconds() - start_s) - outer.sync.exposed_ms;
  if (discarded) {
    NoteBad(outer.sync);
  } else if (skipped_in_a_row_ == 0) {
    first_bad_ = {};
  }
  return CheckRounds(report.learning_rate, micro_batches);
}

absl::Status MixedPrecisionTrainer::AgreeOnCounters(StepReport& report, bool discarded) {
  const std::map<std::string, double> scaler = scaler_.State();
  const auto count = [&](const char* name) { return static_cast<int64_t>(scaler.at(name)); };
  const int64_t sent_before = communicator_->wire_stats().bytes_sent;
  DS_ASSIGN_OR_RETURN(const LocalCounters agreed,
                      Agree({.loss_scale = scaler_.scale(),
                             .good_steps = count("good_steps"),
                             .growths = count("growths"),
                             .backoffs = count("backoffs"),
                             .scaler_skipped = count("skipped"),
                             .skipped = discarded ? round_steps_ : round_skipped_,
                             .skipped_in_a_row = skipped_in_a_row_},
                            *communicator_));
  report.wire_bytes += communicator_->wire_stats().bytes_sent - sent_before;
  skipped_ += agreed.skipped;
  skipped_in_a_row_ = agreed.skipped_in_a_row;
  return scaler_.LoadState({{"scale", agreed.loss_scale},
                            {"good_steps", static_cast<double>(agreed.good_steps)},
                            {"growths", static_cast<double>(agreed.growths)},
                            {"backoffs", static_cast<double>(agreed.backoffs)},
                            {"skipped", static_cast<double>(agreed.scaler_skipped)}});
}

std::map<std::string, at::Tensor> MixedPrecisionTrainer::outer_state() const {
  return local_steps_ ? local_steps_->State() : std::map<std::string, at::Tensor>();
}

}  // namespace ds
