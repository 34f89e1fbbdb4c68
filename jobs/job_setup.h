// Builds the objects of a run from its configuration, in dependency order. Torch-facing, but
// silent: reporting is elsewhere.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "data/loader.h"
#include "jobs/config/train_config.h"
#include "jobs/data/data_setup.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/state/run_state.h"

namespace ds {

// Everything a run trains with. Destroyed in reverse order of declaration.
struct JobObjects {
  DataSplits splits;
  std::vector<std::string> notes;  // on the model: what trains, what import changed
  std::unique_ptr<DataLoader> train_loader;
  std::unique_ptr<DataLoader> test_loader;
  std::unique_ptr<GraphModule> module;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Schedule> schedule;
  std::unique_ptr<MixedPrecisionTrainer> trainer;

  RunObjects state() const {
    return {module.get(), optimizer.get(), schedule.get(), trainer.get()};
  }
};

struct JobSetupOptions {
  TrainObserver* observer = nullptr;
  std::function<void(int64_t step, at::Tensor& loss)> loss_fault;
};

// Opens the data, builds the model, compares configuration and parameter list over the ranks (the
// first difference is named on every rank), then makes loaders, optimiser, schedule and trainer.
// Collective. `config.data.loader.mean` and `stddev` are filled in if they were measured.
absl::StatusOr<std::unique_ptr<JobObjects>> SetUpJob(TrainConfig& config,
                                                     const JobSetupOptions& options,
                                                     Communicator& communicator);

// Puts another model in the place of the job's, with an optimiser and a trainer of its own that go
// on at the same epoch and step; loaders and schedule stay. `objective` as in
// TrainerParts.
absl::Status ReplaceModel(const TrainConfig& config, const JobSetupOptions& options,
                          std::unique_ptr<GraphModule> module, Objective objective,
                          Communicator& communicator, JobObjects& job);

}  // namespace ds
