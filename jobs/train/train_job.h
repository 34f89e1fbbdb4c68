// A training run from its configuration to its folder: what `ds_train` does after it has read its
// arguments.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "jobs/config/train_config.h"
#include "report/summary.h"

namespace ds {

struct TrainJobOptions {
  bool dry_run = false;  // builds everything, runs one step and one test batch, writes nothing
  bool resume = false;   // go on in the last folder of this run.output and run.name
  std::vector<std::string> command;  // as typed, for the run's folder
  bool print = true;                 // progress and tables on rank 0's stdout
  // Test seam, called on every rank after each optimiser step with its number and the parameters'
  // SHA-256 ("" unless set).
  std::function<absl::Status(int64_t step, const std::string& parameter_hash)> after_step;
  // Test seam: called on rank 0 before each work of its own that the others wait for, with what it
  // is ("write the model").
  std::function<void(absl::string_view what)> before_lone_work;
  // Test seam of TrainerParts.
  std::function<void(int64_t step, at::Tensor& loss)> loss_fault;
};

// Collective: every rank calls it with the same config. The summary is complete on rank 0. Errors
// say what, where and how to mend it; nothing that was there before is lost.
absl::StatusOr<RunSummary> RunTrainJob(const TrainConfig& config, const TrainJobOptions& options,
                                       Communicator& communicator);

}  // namespace ds
