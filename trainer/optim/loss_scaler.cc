#include "trainer/optim/loss_scaler.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

namespace {

absl::Status Require(bool holds, absl::string_view field, double value, absl::string_view range) {
  if (holds && std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the loss scaler's ", field, " is ", value, ": it must be ", range));
}

}  // namespace

absl::StatusOr<LossScaler> LossScaler::Create(const LossScalerOptions& options) {
  DS_RETURN_IF_ERROR(Require(options.initial_scale > 0, "initial_scale", options.initial_scale,
                             "finite and above 0"));
  DS_RETURN_IF_ERROR(Require(options.growth_factor > 1, "growth_factor", options.growth_factor,
                             "finite and above 1"));
  DS_RETURN_IF_ERROR(Require(options.backoff_factor > 0 && options.backoff_factor < 1,
                             "backoff_factor", options.backoff_factor, "in (0, 1)"));
  DS_RETURN_IF_ERROR(Require(options.growth_interval >= 1, "growth_interval",
                             static_cast<double>(options.growth_interval), "1 step or more"));
  DS_RETURN_IF_ERROR(
      Require(options.max_scale >= 1, "max_scale", options.max_scale, "finite and at least 1"));
  LossScaler scaler;
  scaler.options_ = options;
  if (options.enabled) scaler.scale_ = options.initial_scale;
  return scaler;
}

bool LossScaler::Update(bool found_inf) {
  if (found_inf) ++skipped_;
  if (!options_.enabled) return found_inf;
  if (found_inf) {
    // Below 1 there is nothing to gain: gradients that overflow unscaled are not a matter of scale.
    scale_ = std::max(1.0, scale_ * options_.backoff_factor);
    ++backoffs_;
    good_steps_ = 0;
    return true;
  }
  if (++good_steps_ >= options_.growth_interval) {
    good_steps_ = 0;
    const double grown = std::min(options_.max_scale, scale_ * options_.growth_factor);
    if (grown > scale_) ++growths_;
    scale_ = grown;
  }
  return false;
}

std::map<std::string, double> LossScaler::State() const {
  return {{"scale", scale_},
          {"good_steps", static_cast<double>(good_steps_)},
          {"growths", static_cast<double>(growths_)},
          {"backoffs", static_cast<double>(backoffs_)},
          {"skipped", static_cast<double>(skipped_)}};
}

absl::Status LossScaler::LoadState(const std::map<std::string, double>& state) {
  for (const char* name : {"scale", "good_steps", "growths", "backoffs", "skipped"}) {
    if (!state.contains(name)) {
      return absl::NotFoundError(absl::StrCat("the loss scaler's state lacks '", name, "'"));
    }
  }
  for (const auto& [name, value] : state) {
    const bool scale = name == "scale";
    if (!std::isfinite(value) || value < 0 || (scale && value == 0)) {
      return absl::InvalidArgumentError(absl::StrCat("the loss scaler's '", name, "' is ", value,
                                                     ": it must be finite and ",
                                                     scale ? "above 0" : "0 or more"));
    }
  }
  scale_ = state.at("scale");
  good_steps_ = static_cast<int64_t>(state.at("good_steps"));
  growths_ = static_cast<int64_t>(state.at("growths"));
  backoffs_ = static_cast<int64_t>(state.at("backoffs"));
  skipped_ = static_cast<int64_t>(state.at("skipped"));
  return absl::OkStatus();
}

}  // namespace ds
