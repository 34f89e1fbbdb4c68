// What MixedPrecisionTrainer hands to a checkpoint and takes back.
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {
namespace {

constexpr double kLargestCount = 9007199254740992;  // 2^53: beyond it doubles skip integers

}  // namespace

std::string MixedPrecisionTrainer::ParameterHash() const {
  Sha256 hash;
  for (const NamedTensor& parameter : model_.parameters()) {
    hash.Update(
        {static_cast<const std::byte*>(parameter.tensor.data_ptr()), parameter.tensor.nbytes()});
  }
  return hash.Hex();
}

SyncState MixedPrecisionTrainer::exchange_state() const {
  if (local_steps_ != nullptr) return local_steps_->ExportExchange();
  if (synchronizer_ != nullptr) return synchronizer_->ExportState();
  return pending_exchange_.value_or(SyncState());
}

void MixedPrecisionTrainer::set_residuals(CompressorState residuals) {
  if (!pending_exchange_.has_value()) pending_exchange_.emplace();
  pending_exchange_->residuals = std::move(residuals);
}

CompressionReport MixedPrecisionTrainer::compression_report() const {
  if (local_steps_ != nullptr) return local_steps_->Report();
  return synchronizer_ != nullptr ? synchronizer_->Report() : CompressionReport();
}

std::map<std::string, double> MixedPrecisionTrainer::State() const {
  std::map<std::string, double> state = {
      {"epoch", static_cast<double>(epoch_)},
      {"step", static_cast<double>(step_)},
      {"skipped", static_cast<double>(skipped_)},
      {"skipped_in_a_row", static_cast<double>(skipped_in_a_row_)}};
  for (const auto& [name, value] : scaler_.State()) state["scaler/" + name] = value;
  return state;
}

absl::Status MixedPrecisionTrainer::LoadState(const std::map<std::string, double>& state) {
  std::map<std::string, double> scaler_state;
  for (const auto& [name, value] : state) {
    if (name.rfind("scaler/", 0) == 0) scaler_state[name.substr(7)] = value;
  }
  for (const char* name : {"epoch", "step", "skipped", "skipped_in_a_row"}) {
    if (!state.contains(name)) {
      return absl::NotFoundError(absl::StrCat("the trainer's state lacks '", name, "'"));
    }
  }
  for (const char* name : {"epoch", "step", "skipped", "skipped_in_a_row"}) {
    const double count = state.at(name);
    if (!(count >= 0 && count <= kLargestCount) || count != std::floor(count)) {
      return absl::InvalidArgumentError(absl::StrCat("'", name, "' of the trainer's state is ",
                                                     count, ", not a count of steps or epochs"));
    }
  }
  DS_RETURN_IF_ERROR(scaler_.LoadState(scaler_state));
  epoch_ = static_cast<int64_t>(state.at("epoch"));
  step_ = static_cast<int64_t>(state.at("step"));
  skipped_ = static_cast<int64_t>(state.at("skipped"));
  skipped_in_a_row_ = static_cast<int64_t>(state.at("skipped_in_a_row"));
  return absl::OkStatus();
}

}  // namespace ds
