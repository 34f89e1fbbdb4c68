// A step's time without exchange, of the steps that the forecast watched, and with it, of those
// after them.
#pragma once

#include <vector>

#include "base/median.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {

class StepMedians {
 public:
  void Add(const StepReport& step) {
    if (step.watched) {
      // Watched again: the model has changed.
      if (!with_.empty()) without_.clear();
      with_.clear();
      without_.push_back(step.times.total() - step.times.exchange_exposed);
    } else if (!without_.empty() && with_.size() < kMostSteps) {
      with_.push_back(step.times.total());
    }
  }

  // Milliseconds; NaN where there was no such step.
  double compute_ms() const { return Median(without_); }
  double step_ms() const { return Median(with_); }

 private:
  static constexpr size_t kMostSteps = 1000;

  std::vector<double> without_, with_;
};

}  // namespace ds
