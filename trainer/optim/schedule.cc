#include "trainer/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// From `from` to `to` along half a cosine; `share` in [0, 1].
double CosineBetween(double from, double to, double share) {
  return to + (from - to) * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
}

// The common part: options, a linear warm-up in front of what a subclass says.
class StepSchedule : public Schedule {
 public:
  explicit StepSchedule(const ScheduleOptions& options)
      : options_(options),
        warmup_steps_(static_cast<int64_t>(
            std::llround(options.warmup_epochs * static_cast<double>(options.steps_per_epoch)))) {}

  double LearningRate(int64_t step) const override {
    if (step < warmup_steps_) {
      return options_.peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps_);
    }
    return AfterWarmup(step);
  }
  void ReportEpoch(double) override {}
  std::map<std::string, double> State() const override { return {}; }
  absl::Status LoadState(const std::map<std::string, double>&) override { return absl::OkStatus(); }

 protected:
  virtual double AfterWarmup(int64_t step) const = 0;
  // Share of the steps after the warm-up that lie before `step`.
  double Share(int64_t step) const {
    const int64_t steps = std::max<int64_t>(1, options_.total_steps - warmup_steps_ - 1);
    return std::clamp(static_cast<double>(step - warmup_steps_) / static_cast<double>(steps), 0.0,
                      1.0);
  }

  const ScheduleOptions options_;
  const int64_t warmup_steps_;
};

class ConstantSchedule final : public StepSchedule {
 public:
  using StepSchedule::StepSchedule;

 protected:
  double AfterWarmup(int64_t) const override { return options_.peak; }
};

// Loshchilov & Hutter 2017, one period.
class CosineSchedule final : public StepSchedule {
 public:
  using StepSchedule::StepSchedule;

 protected:
  double AfterWarmup(int64_t step) const override {
    return CosineBetween(options_.peak, options_.peak * options_.final_ratio, Share(step));
  }
};

class MilestoneSchedule final : public StepSchedule {
 public:
  using StepSchedule::StepSchedule;

 protected:
  double AfterWarmup(int64_t step) const override {
    const int64_t epoch = step / options_.steps_per_epoch;
    const auto passed =
        std::upper_bound(options_.milestones.begin(), options_.milestones.end(), epoch);
    return options_.peak *
           std::pow(options_.gamma, static_cast<double>(passed - options_.milestones.begin()));
  }
};

// Smith & Topin 2017, with cosine legs.
class OneCycleSchedule final : public StepSchedule {
 public:
  using StepSchedule::StepSchedule;

 protected:
  double AfterWarmup(int64_t step) const override {
    const double share = Share(step), first = options_.peak / options_.initial_divisor;
    if (share < options_.start_fraction) {
      return CosineBetween(first, options_.peak, share / options_.start_fraction);
    }
    return CosineBetween(options_.peak, first / options_.final_divisor,
                         (share - options_.start_fraction) / (1.0 - options_.start_fraction));
  }
};

class PlateauSchedule final : public StepSchedule {
 public:
  using StepSchedule::StepSchedule;

  void ReportEpoch(double loss) override {
    if (loss < best_) {
      best_ = loss;
      bad_epochs_ = 0;
    } else if (++bad_epochs_ > static_cast<double>(options_.patience)) {
      factor_ *= options_.gamma;
      bad_epochs_ = 0;
    }
  }

  std::map<std::string, double> State() const override {
    return {{"best", best_}, {"bad_epochs", bad_epochs_}, {"factor", factor_}};
  }

  absl::Status LoadState(const std::map<std::string, double>& state) override {
    for (const char* name : {"best", "bad_epochs", "factor"}) {
      if (!state.contains(name)) {
        return absl::NotFoundError(absl::StrCat("the plateau schedule's state lacks '", name, "'"));
      }
    }
    best_ = state.at("best");
    bad_epochs_ = state.at("bad_epochs");
    factor_ = state.at("factor");
    return absl::OkStatus();
  }

 protected:
  double AfterWarmup(int64_t) const override { return options_.peak * factor_; }

 private:
  double best_ = std::numeric_limits<double>::max();
  double bad_epochs_ = 0;
  double factor_ = 1;
};

absl::Status Check(const ScheduleOptions& options) {
  const auto bad = [](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("schedule: ", what));
  };
  if (!(options.peak > 0)) return bad("the peak learning rate must be above 0");
  if (options.total_steps < 1 || options.steps_per_epoch < 1) return bad("the run has no steps");
  if (!(options.warmup_epochs >= 0)) return bad("warmup_epochs must not be negative");
  if (!(options.gamma > 0)) return bad("gamma must be above 0");
  if (!(options.start_fraction > 0 && options.start_fraction < 1))
    return bad("start_fraction must lie between 0 and 1");
  if (!(options.initial_divisor >= 1 && options.final_divisor >= 1))
    return bad("divisors must be at least 1");
  if (std::adjacent_find(options.milestones.begin(), options.milestones.end(),
                         std::greater_equal<>()) != options.milestones.end()) {
    return bad("milestones must rise");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Schedule>> Schedule::Create(const ScheduleOptions& options) {
  DS_RETURN_IF_ERROR(Check(options));
  if (options.name == "constant") return std::make_unique<ConstantSchedule>(options);
  if (options.name == "cosine") return std::make_unique<CosineSchedule>(options);
  if (options.name == "step") return std::make_unique<MilestoneSchedule>(options);
  if (options.name == "one_cycle") return std::make_unique<OneCycleSchedule>(options);
  if (options.name == "plateau") return std::make_unique<PlateauSchedule>(options);
  return absl::InvalidArgumentError(
      absl::StrCat("unknown schedule '", options.name,
                   "'; it is one of constant, cosine, step, one_cycle, plateau"));
}

}  // namespace ds
