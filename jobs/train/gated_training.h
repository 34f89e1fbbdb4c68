// What a configuration's gating section asks of a run: a model with gates behind its inner
// convolutions, and a penalty that closes as many of them as were asked for. docs/gating.md has the
// whole way.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/tensor/safetensors.h"
#include "comm/communicator.h"
#include "jobs/config/train_config.h"
#include "jobs/job_setup.h"
#include "report/summary.h"
#include "trainer/gating/gate_controller.h"
#include "trainer/gating/gate_watch.h"

namespace ds {

// Section of a checkpoint: the penalty's weight, and what it comes from.
inline constexpr char kGatingSection[] = "gating";

class GatedTraining {
 public:
  // Null where `gating.mode` is none. Else the job's model gets its gates, and an optimiser and a
  // trainer with the penalty; it must not have trained yet. InvalidArgument if there is nothing to
  // gate. Every rank calls it.
  static absl::StatusOr<std::unique_ptr<GatedTraining>> Create(const TrainConfig& config,
                                                               const JobSetupOptions& options,
                                                               Communicator& communicator,
                                                               JobObjects& job);

  // After each optimiser step: the ranks count their gates together, and the penalty's weight
  // follows. Collective.
  absl::Status OnStep(const StepReport& step, Communicator& communicator);

  // Around an evaluation: a line for people about the gates, over its images and all ranks.
  // Report is collective.
  void StartCounting() { shared_->watch.StartCounting(); }
  absl::StatusOr<std::string> Report(Communicator& communicator) const;

  // Measures the run's ONNX file `model` on the whole test split. On one rank.
  absl::Status AddUse(const DataSplits& splits, const std::string& model,
                      RunSummary& summary) const;

  // Whether a model after so many epochs is what was asked for: the best is looked for among these.
  // Before, gates are still being closed.
  bool Counts(int64_t epochs_done) const {
    return static_cast<double>(epochs_done) > config_.gating.ramp_epochs;
  }
  double weight() const { return shared_->weight; }

  TensorMap State() const;
  // DataLoss if it is not what State gives.
  absl::Status Restore(const TensorMap& state);

 private:
  // What the trainer's objective needs too, which may outlive this object.
  struct Shared {
    GateWatch watch;
    double weight = 0;    // of the penalty, in this step
    GateCount step = {};  // of this rank's micro-batches so far
  };

  GatedTraining(const TrainConfig& config, GateWatch watch, const GateController& controller)
      : config_(config),
        shared_(std::make_shared<Shared>(Shared{std::move(watch)})),
        controller_(controller) {}

  const TrainConfig config_;
  std::shared_ptr<Shared> shared_;
  GateController controller_;
};

}  // namespace ds
