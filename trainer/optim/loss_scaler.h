// Dynamic loss scaling for fp16 (Micikevicius et al. 2018): the loss is multiplied by `scale`; a
// step whose gradients are not finite is skipped and the scale backs off; after `growth_interval`
// good steps in a row it grows. Torch-free; every rank feeds it the same flag, so scales agree.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace ds {

struct LossScalerOptions {
  bool enabled =
      false;  // false: scale 1 for ever; steps that are not finite are skipped all the same
  double initial_scale = 65536;    // > 0
  double growth_factor = 2;        // > 1
  double backoff_factor = 0.5;     // (0, 1)
  int64_t growth_interval = 2000;  // steps, >= 1
  double max_scale = 16777216;     // 2^24
};

class LossScaler {
 public:
  // Disabled: scale 1.
  LossScaler() = default;
  // InvalidArgument naming an option out of range.
  static absl::StatusOr<LossScaler> Create(const LossScalerOptions& options);
  double scale() const { return scale_; }
  bool enabled() const { return options_.enabled; }
  int64_t growths() const { return growths_; }
  int64_t backoffs() const { return backoffs_; }
  int64_t skipped_steps() const { return skipped_; }
  // Call once a step, with the flag OR-ed over the ranks. Returns true if the step must be skipped.
  bool Update(bool found_inf);
  std::map<std::string, double> State() const;
  // NotFound / InvalidArgument naming a missing or senseless entry; nothing is changed then.
  absl::Status LoadState(const std::map<std::string, double>& state);

 private:
  LossScalerOptions options_;
  double scale_ = 1;
  int64_t good_steps_ = 0, growths_ = 0, backoffs_ = 0, skipped_ = 0;
};

}  // namespace ds
