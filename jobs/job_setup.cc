#include "jobs/job_setup.h"

#include <string>
#include <utility>
#include <vector>

#include "ATen/Context.h"
#include "ATen/Parallel.h"
#include "ATen/Version.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "comm/consistency.h"
#include "comm/hosts.h"
#include "comm/while_others_wait.h"
#include "executor/memory.h"
#include "graph/passes/passes.h"
#include "graph/trained_values.h"
#include "jobs/config/train_schema.h"
#include "jobs/data/data_setup.h"
#include "jobs/model_factory.h"

namespace ds {
namespace {

absl::StatusOr<std::string> DescribeData(const Dataset& dataset) {
  DS_ASSIGN_OR_RETURN(const DatasetDigest digest, dataset.Digest());
  return absl::StrCat(dataset.info().size, " samples, checksum ", digest.value, " over ",
                      digest.covers);
}

// What must be the same everywhere, as text. Data first: means measured from other data would make
// the configurations differ too.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> DescribeRank(
    const TrainConfig& config, const JobObjects& job) {
  const DatasetOptions& set = config.data.set;
  const std::string place =
      absl::StrCat(" (data.type ", set.type, set.path.empty() ? "" : ", data.path ", set.path, ")");
  std::vector<std::pair<std::string, std::string>> items;
  DS_ASSIGN_OR_RETURN(const std::string train, DescribeData(*job.splits.train));
  DS_ASSIGN_OR_RETURN(const std::string test, DescribeData(*job.splits.test));
  items.emplace_back("training data" + place, train);
  items.emplace_back("test data" + place, test);
  items.emplace_back("configuration", PrintTrainConfig(config));
  // Its optimisers round by them: replicas would drift apart.
  items.emplace_back("the instructions that LibTorch uses (--instructions makes them equal)",
                     at::get_cpu_capability());
  for (const NamedTensor& parameter : job.module->parameters()) {
    items.emplace_back("parameter " + parameter.name, absl::StrJoin(parameter.tensor.sizes(), "x"));
  }
  return items;
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

absl::Status SetUpCompute(const RunConfig& run, Communicator& communicator) {
  // Asked for on all ranks, whatever this one is told.
  DS_ASSIGN_OR_RETURN(const int cores, CoresOfRank(communicator));
  KeepFreedMemory();
  at::set_num_threads(run.threads > 0 ? static_cast<int>(run.threads) : cores);
  at::globalContext().setDeterministicAlgorithms(run.deterministic, /*warn_only=*/true);
  return absl::OkStatus();
}

absl::Status OpenDataAndModel(TrainConfig& config, JobObjects& job) {
  DS_ASSIGN_OR_RETURN(job.splits, OpenSplits(config));
  std::vector<std::string> notes;
  DS_ASSIGN_OR_RETURN(Graph graph,
                      MakeModel(config.model, job.splits.train->info(), config.run.seed, &notes));
  // Rounding in training is of weights as their layers read them.
  if (config.quantization.mode == "qat") DS_RETURN_IF_ERROR(FoldWeights(graph));
  job.notes = {absl::StrCat("model: ", TrainedValuesText(graph))};
  for (const std::string& note : notes) job.notes.push_back(absl::StrCat("model: ", note));
  DS_ASSIGN_OR_RETURN(job.module, GraphModule::Create(std::move(graph)));
  if (!job.module->parameters().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the model has no trainable parameters: is it exported with its weights as constants?");
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobObjects>> SetUpJob(TrainConfig& config,
                                                     const JobSetupOptions& options,
                                                     Communicator& communicator) {
  DS_RETURN_IF_ERROR(SetUpCompute(config.run, communicator));
  auto job = std::make_unique<JobObjects>();
  std::vector<std::pair<std::string, std::string>> description;
  DS_RETURN_IF_ERROR(WorkAtOwnPace(communicator, "open its data and model", [&]() -> absl::Status {
    DS_RETURN_IF_ERROR(OpenDataAndModel(config, *job));
    if (communicator.size() == 1) return absl::OkStatus();
    DS_ASSIGN_OR_RETURN(description, DescribeRank(config, *job));
    return absl::OkStatus();
  }));
  DS_RETURN_IF_ERROR(CheckSameOnAllRanks(communicator, description));
  const DataSplits& splits = job->splits;
  const int rank = communicator.rank(), ranks = communicator.size();
  if (rank == 0) SayNotes(splits);
  DS_ASSIGN_OR_RETURN(job->train_loader,
                      MakeLoader(config, splits.train, DataUse::kTrain, rank, ranks));
  DS_ASSIGN_OR_RETURN(job->test_loader,
                      MakeLoader(config, splits.test, DataUse::kTest, rank, ranks));
  DS_ASSIGN_OR_RETURN(job->optimizer,
                      Optimizer::Create(job->module->parameters(), config.optimizer));
  DS_ASSIGN_OR_RETURN(job->schedule, Schedule::Create(MakeScheduleOptions(
                                         config, job->train_loader->batches_per_epoch())));
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::ForModel(config.loss, job->module->graph()));
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
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::ForModel(config.loss, module->graph()));
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
