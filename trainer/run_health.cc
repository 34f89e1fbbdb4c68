// MixedPrecisionTrainer: whether the run is still finite, and what it says when it is not.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "trainer/batch_tensors.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {
namespace {

// Rounds of local steps in a row that were discarded, after which nobody should wait for a better
// one: each began from the same weights.
constexpr int64_t kMaxDiscardedRounds = 5;

}  // namespace

void MixedPrecisionTrainer::NoteBad(const SyncStats& sync) {
  if (first_bad_.step >= 0) return;
  if (!sync.not_finite.empty()) {
    const char* const what = local_steps_ == nullptr ? "gradient" : "gradient, or the change,";
    first_bad_ = {step_, absl::StrCat(what, " of '", sync.not_finite, "'"), sync.overflowed};
    return;
  }
  // The forward pass has left it in a statistic, which is put back after this.
  for (const NamedTensor& buffer : model_.buffers()) {
    if (buffer.tensor.isfinite().all().item<bool>()) continue;
    first_bad_ = {step_, absl::StrCat("statistic '", buffer.name, "'"), false};
    return;
  }
}

// What this rank can say of what it has noted, or of its weights.
std::optional<Divergence> MixedPrecisionTrainer::FindDivergence(
    const std::vector<Batch>& micro_batches) {
  std::optional<Divergence> found = FindInWeights(model_);
  const bool mine = first_bad_.step >= 0;
  for (size_t i = 0; i < micro_batches.size() && mine && !found.has_value(); ++i) {
    if (micro_batches[i].size() == 0 || first_bad_.overflowed) continue;
    SetDropoutKey(i);
    const auto inputs = InputsToTorch(micro_batches[i], model_.graph());
    if (!inputs.ok()) continue;
    auto in_forward = FindInForward(model_, *inputs);
    if (in_forward.ok()) found = *std::move(in_forward);
  }
  if (!found.has_value() && mine) found = DescribeBad();
  if (found.has_value()) found->step = mine ? first_bad_.step : step_;
  return found;
}

Divergence MixedPrecisionTrainer::DescribeBad() const {
  if (first_bad_.overflowed) {
    return {absl::StrCat("the mean over the ranks of the ", first_bad_.what,
                         " left the range of what carries it, though each rank's was finite"),
            absl::StrCat("choose another compression.method (fp16 ends at 65504), or ",
                         kLowerLearningRate)};
  }
  Divergence found = {
      absl::StrCat("the ", first_bad_.what, " was not finite, though the forward pass is"),
      kLowerLearningRate};
  if (model_.precision() != Precision::kFloat16) return found;
  found.help = scaler_.scale() > 1
                   ? absl::StrCat("the loss scale is still ", scaler_.scale(),
                                  ": lower precision.initial_scale or precision.backoff_factor")
                   : "fp16 cannot hold it even with a loss scale of 1: train with "
                     "precision.mode=bf16 or fp32";
  return found;
}

absl::Status MixedPrecisionTrainer::CheckConverging(double learning_rate,
                                                    const std::vector<Batch>& micro_batches) {
  // Weights that are lost stay so whatever is skipped. All ranks have the same, and give up
  // together; with local steps an outer step may bring them back.
  const bool lost =
      local_steps_ == nullptr && skipped_in_a_row_ == 1 && !ParametersAreFinite(model_);
  if (skipped_in_a_row_ < options_.max_skipped_in_a_row && !lost) return absl::OkStatus();
  return DivergenceError(
      absl::StrCat("training has diverged: gradients were not finite for ", skipped_in_a_row_,
                   skipped_in_a_row_ == 1 ? " step" : " steps in a row", ", at step ", step_,
                   " with learning rate ", learning_rate),
      FindDivergence(micro_batches), *communicator_);
}

absl::Status MixedPrecisionTrainer::CheckRounds(double learning_rate,
                                                const std::vector<Batch>& micro_batches) {
  if (local_steps_->discarded_in_a_row() < kMaxDiscardedRounds)
    return CheckConverging(learning_rate, micro_batches);
  return DivergenceError(
      absl::StrCat("training has diverged: what the ranks' local steps had changed was not finite "
                   "in ",
                   local_steps_->discarded_in_a_row(), " outer steps in a row, at step ", step_,
                   " with learning rate ", learning_rate, " (sync.outer_learning_rate is ",
                   options_.local_steps.outer_learning_rate, ")"),
      FindDivergence(micro_batches), *communicator_);
}

absl::Status MixedPrecisionTrainer::CheckStateIsFinite() {
  std::optional<Divergence> mine = FindInWeights(model_);
  if (!mine.has_value() && ema_ != nullptr) mine = FindInTensors("the average", ema_->State());
  if (!mine.has_value()) mine = FindInTensors("the optimiser's", optimizer_.State());
  if (mine.has_value()) mine->step = step_;
  int32_t bad = mine.has_value() ? 1 : 0;
  DS_RETURN_IF_ERROR(
      communicator_->AllReduce(MutableBuffer::Of(absl::MakeSpan(&bad, 1)), ReduceOp::kMax));
  if (bad == 0) return absl::OkStatus();
  return DivergenceError(absl::StrCat("training has diverged in epoch ", epoch_ + 1), mine,
                         *communicator_);
}

absl::Status MixedPrecisionTrainer::CheckStepsWereTaken(int64_t steps,
                                                        const std::vector<Batch>& micro_batches) {
  int64_t lost = skipped_in_a_row_;
  if (local_steps_ != nullptr)
    lost = std::max(lost, local_steps_->discarded_in_a_row() * local_steps_->every());
  if (steps == 0 || lost < steps) return absl::OkStatus();
  return DivergenceError(absl::StrCat("training has diverged: none of the last epoch's ", steps,
                                      " steps was taken: all were skipped"),
                         FindDivergence(micro_batches), *communicator_);
}

}  // namespace ds
