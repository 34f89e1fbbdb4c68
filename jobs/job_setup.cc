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
#include "config/reader.h"
#include "executor/memory.h"
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
  const int64_t steps =
      (batches_per_epoch + config.optimizer.accumulate - 1) / config.optimizer.accumulate;
  const ScheduleConfig& schedule = config.schedule;
  return {.name = schedule.name,
          .peak = config.optimizer.learning_rate,
          .total_steps = steps * config.run.epochs,
          .steps_per_epoch = steps,
          .warmup_epochs = schedule.warmup_epochs,
          .final_ratio = schedule.final_ratio,
          .milestones = schedule.milestones,
          .gamma = schedule.gamma,
          .patience = schedule.patience,
          .start_fraction = schedule.start_fraction,
          .initial_divisor = schedule.initial_divisor,
          .final_divisor = schedule.final_divisor};
}

OptimizerOptions MakeOptimizerOptions(const OptimizerConfig& config) {
  return {.name = config.name,
          .learning_rate = config.learning_rate,
          .momentum = config.momentum,
          .nesterov = config.nesterov,
          .beta1 = config.beta1,
          .beta2 = config.beta2,
          .epsilon = config.epsilon,
          .weight_decay = config.weight_decay};
}

CompressionOptions MakeCompressionOptions(const TrainConfig& config) {
  const CompressionConfig& compression = config.compression;
  return {.method = compression.method,
          .codec = {.bits = compression.bits == "auto" ? CompressionOptions::kAutoBits
                                                       : std::stoi(compression.bits),
                    .bucket = compression.bucket,
                    .scale =
                        compression.scale == "min_max" ? CodecScale::kMinMax : CodecScale::kMaxNorm,
                    .rounding = compression.rounding == "stochastic" ? CodecRounding::kStochastic
                                                                     : CodecRounding::kNearest,
                    .rotate = compression.rotate,
                    .density = compression.density},
          .rank = compression.rank,
          .error_feedback = compression.error_feedback,
          .warmup_steps = compression.warmup_steps,
          .minimum_size = compression.minimum_size,
          .exclude = compression.exclude,
          .hierarchical = compression.hierarchical,
          .decide_every = compression.decide_every,
          .seed = config.run.seed};
}

MixedPrecisionTrainerOptions MakeTrainerOptions(const TrainConfig& config) {
  return {.precision = config.precision.mode,
          .scaler = {.initial_scale = config.precision.initial_scale,
                     .growth_factor = config.precision.growth_factor,
                     .backoff_factor = config.precision.backoff_factor,
                     .growth_interval = config.precision.growth_interval},
          .clip_norm = config.optimizer.clip_norm,
          .accumulate = config.optimizer.accumulate,
          .ema = {.enabled = config.ema.enabled, .decay = config.ema.decay},
          .seed = config.run.seed,
          .exchange = {.bucket_mb = config.comm.bucket_mb,
                       .overlap = config.comm.overlap,
                       .forecast = config.comm.forecast,
                       .trace = config.log.trace,
                       .compression = MakeCompressionOptions(config)},
          .local_steps = {.every = config.sync.every,
                          .outer_learning_rate = config.sync.outer_learning_rate,
                          .outer_momentum = config.sync.outer_momentum}};
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
  DS_ASSIGN_OR_RETURN(job->optimizer, Optimizer::Create(job->module->parameters(),
                                                        MakeOptimizerOptions(config.optimizer)));
  DS_ASSIGN_OR_RETURN(job->schedule, Schedule::Create(MakeScheduleOptions(
                                         config, job->train_loader->batches_per_epoch())));
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::Create({config.loss.name, config.loss.label_smoothing}));
  job->trainer = std::make_unique<MixedPrecisionTrainer>(
      *job->module, *job->optimizer, std::move(loss), MakeTrainerOptions(config),
      MakeParts(options, job->schedule.get(), &communicator));
  return job;
}

absl::Status ReplaceModel(const TrainConfig& config, const JobSetupOptions& options,
                          std::unique_ptr<GraphModule> module, Objective objective,
                          Communicator& communicator, JobObjects& job) {
  DS_ASSIGN_OR_RETURN(
      std::unique_ptr<Optimizer> optimizer,
      Optimizer::Create(module->parameters(), MakeOptimizerOptions(config.optimizer)));
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::Create({config.loss.name, config.loss.label_smoothing}));
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
