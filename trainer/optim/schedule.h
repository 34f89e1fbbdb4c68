// Learning rate as a function of the optimiser step (pure, but for plateau, which also remembers
// metrics). Torch-free.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/optim/options.h"

namespace ds {

struct ScheduleOptions {
  std::string name = "cosine";                     // constant | cosine | step | one_cycle | plateau
  double peak = OptimizerOptions().learning_rate;  // > 0
  int64_t total_steps = 1;                         // of the whole run
  int64_t steps_per_epoch = 1;
  double warmup_epochs = 0;         // linear from peak / warm-up steps
  double final_ratio = 0;           // cosine
  std::vector<int64_t> milestones;  // step: epochs, rising
  double gamma = 0.1;               // step, plateau
  int64_t patience = 5;             // plateau, epochs
  double start_fraction = 0.25;     // one_cycle (Smith & Topin 2017), cosine both ways
  double initial_divisor = 25;
  double final_divisor = 1e4;
};

class Schedule {
 public:
  static absl::StatusOr<std::unique_ptr<Schedule>> Create(const ScheduleOptions& options);
  virtual ~Schedule() = default;
  // For optimiser step `step` (0-based).
  virtual double LearningRate(int64_t step) const = 0;
  // After each epoch's evaluation; `loss` lower is better. Only plateau cares.
  virtual void ReportEpoch(double loss) = 0;
  // For checkpoints: name -> number.
  virtual std::map<std::string, double> State() const = 0;
  virtual absl::Status LoadState(const std::map<std::string, double>& state) = 0;
};

}  // namespace ds
