#include "jobs/job_setup.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ATen/Context.h"
#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/cpu_features.h"
#include "base/status.h"
#include "comm/consistency.h"
#include "executor/memory.h"
#include "jobs/config/train_schema.h"
#include "jobs/data_setup.h"
#include "jobs/model_factory.h"

namespace ds {
namespace {

// Everything that must be the same everywhere, as text.
absl::Status CompareRanks(const TrainConfig& config, const DatasetInfo& data,
                          const GraphModule& module, Communicator& communicator) {
  std::vector<std::pair<std::string, std::string>> items;
  items.emplace_back("configuration", PrintTrainConfig(config));
  items.emplace_back("training samples", absl::StrCat(data.size));
  for (const NamedTensor& parameter : module.parameters()) {
    items.emplace_back("parameter " + parameter.name, absl::StrJoin(parameter.tensor.sizes(), "x"));
  }
  return CheckSameOnAllRanks(communicator, items);
}

ScheduleOptions MakeScheduleOptions(const TrainConfig& config, int64_t batches_per_epoch) {
  const int64_t accumulate = config.trainer.accumulate;
  ScheduleOptions options = config.schedule;
  options.peak = config.optimizer.learning_rate;
  options.steps_per_epoch = (batches_per_epoch + accumulate - 1) / accumulate;
  options.total_steps = options.steps_per_epoch * config.run.epochs;
  return options;
}

MixedPrecisionTrainerOptions MakeTrainerOptions(const TrainConfig& config) {
  MixedPrecisionTrainerOptions options = config.trainer;
  options.seed = options.exchange.compression.seed = config.run.seed;
  return options;
}

TrainerParts MakeParts(const JobSetupOptions& setup, Schedule* schedule,
                       Communicator* communicator) {
  return {.schedule = schedule,
          .communicator = communicator,
          .observer = setup.observer,
          .loss_fault = setup.loss_fault};
}

void SetUpCompute(const RunConfig& run, int local_ranks) {
  const int threads =
      run.threads > 0 ? run.threads : std::max(1, AvailableCores() / std::max(1, local_ranks));
  KeepFreedMemory();
  at::set_num_threads(threads);
  at::globalContext().setDeterministicAlgorithms(run.deterministic, /*warn_only=*/true);
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobObjects>> SetUpJob(TrainConfig& config,
                                                     const JobSetupOptions& options,
                                                     Communicator& communicator) {
  SetUpCompute(config.run, options.local_ranks);
  auto job = std::make_unique<JobObjects>();
  DS_ASSIGN_OR_RETURN(job->splits, OpenSplits(config));
  const DataSplits& splits = job->splits;
  const DatasetInfo data = splits.train->info();
  DS_ASSIGN_OR_RETURN(Graph graph, MakeModel(config.model, data, config.run.seed));
  DS_ASSIGN_OR_RETURN(job->module, GraphModule::Create(std::move(graph)));
  if (job->module->parameters().empty()) {
    return absl::InvalidArgumentError(
        "the model has no trainable parameters: is it exported with its weights as constants?");
  }
  DS_RETURN_IF_ERROR(CompareRanks(config, data, *job->module, communicator));
  const int rank = communicator.rank(), ranks = communicator.size();
  DS_ASSIGN_OR_RETURN(job->train_loader,
                      MakeLoader(config, splits.train, DataUse::kTrain, rank, ranks));
  DS_ASSIGN_OR_RETURN(job->test_loader,
                      MakeLoader(config, splits.test, DataUse::kTest, rank, ranks));
  DS_ASSIGN_OR_RETURN(job->optimizer,
                      Optimizer::Create(job->module->parameters(), config.optimizer));
  DS_ASSIGN_OR_RETURN(job->schedule, Schedule::Create(MakeScheduleOptions(
                                         config, job->train_loader->batches_per_epoch())));
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::Create(config.loss));
  job->trainer = std::make_unique<MixedPrecisionTrainer>(
      *job->module, *job->optimizer, std::move(loss), MakeTrainerOptions(config),
      MakeParts(options, job->schedule.get(), &communicator));
  return job;
}

absl::Status ReplaceModel(const TrainConfig& config, const JobSetupOptions& options,
                          std::unique_ptr<GraphModule> module, Objective objective,
                          Communicator& communicator, JobObjects& job) {
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Optimizer> optimizer,
                      Optimizer::Create(module->parameters(), config.optimizer));
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::Create(config.loss));
  TrainerParts parts = MakeParts(options, job.schedule.get(), &communicator);
  parts.objective = std::move(objective);
  auto trainer = std::make_unique<MixedPrecisionTrainer>(
      *module, *optimizer, std::move(loss), MakeTrainerOptions(config), std::move(parts));
  DS_RETURN_IF_ERROR(trainer->LoadState(job.trainer->State()));
  // The old trainer refers to the old model and optimiser, and goes first.
  job.trainer = std::move(trainer);
  job.optimizer = std::move(optimizer);
  job.module = std::move(module);
  return absl::OkStatus();
}

}  // namespace ds
