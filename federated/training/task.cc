#include "federated/training/task.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "config/reader.h"
#include "jobs/config/train_schema.h"

namespace ds::federated {
namespace {

// What ds_train does by itself and a round cannot.
absl::Status CheckTask(const FederatedTask& task, const PositionOf& at) {
  const TrainConfig& train = task.train;
  const struct {
    bool asked;
    const char* field;
    const char* why;
  } refused[] = {
      {train.pruning.mode != "none", "pruning.mode",
       "sites that each removed channels would train different models; prune the model before "
       "the run, or its result"},
      {train.gating.mode != "none", "gating.mode",
       "the strength of its penalty is steered from step to step, over all data"},
      {train.trainer.ema.enabled, "ema.enabled", "the model that sites get is an average already"},
      {train.trainer.exchange.compression.method != "none", "compression.method",
       "updates have their own few bits (update.bits)"},
      {train.trainer.local_steps.every > 1, "sync.every",
       "the steps between exchanges are federated.local_steps"},
      {train.schedule.name == "plateau", "schedule.name",
       "plateau needs each evaluation's result, which sites do not know"},
      {!train.quantization.stage_bits.empty(), "quantization.stage_bits",
       "the model's steps would change their meaning between rounds"},
      {train.quantization.distillation.weight > 0, "quantization.distillation",
       "the teacher is not among what sites are given"},
  };
  for (const auto& check : refused) {
    if (!check.asked) continue;
    return YamlError(at(check.field), absl::StrCat("'", check.field,
                                                   "' is not for federated "
                                                   "training: ",
                                                   check.why, "; remove it"));
  }
  return absl::OkStatus();
}

std::vector<std::string> WithRounds(std::vector<std::string> overrides, int64_t rounds) {
  overrides.push_back(absl::StrCat("run.epochs=", rounds));
  return overrides;
}

}  // namespace

ConfigSchema TaskSchema(FederatedTask& task) {
  ConfigSchema schema = TrainSchema(task.train);
  schema.sections.push_back({"federated", "A round at one site."});
  schema.fields.push_back({"federated", "local_epochs", &task.local.epochs, Between(1, 1e6),
                           "passes over the site's data a round"});
  schema.fields.push_back({"federated", "local_steps", &task.local.steps, Between(0, 1e9),
                           "optimiser steps a round instead, the same at every site; 0: "
                           "`local_epochs` counts"});
  schema.check = [check = schema.check, &task](const PositionOf& at) -> absl::Status {
    DS_RETURN_IF_ERROR(check(at));
    return CheckTask(task, at);
  };
  return schema;
}

absl::StatusOr<FederatedTask> ReadTask(const std::string& path,
                                       const std::vector<std::string>& overrides, int64_t rounds) {
  FederatedTask task;
  DS_RETURN_IF_ERROR(ReadConfig(TaskSchema(task), path, WithRounds(overrides, rounds)));
  return task;
}

absl::StatusOr<FederatedTask> ParseTask(absl::string_view yaml, int64_t rounds) {
  FederatedTask task;
  // The model comes beside the task, and the check wants to hear of one.
  DS_RETURN_IF_ERROR(ParseConfig(TaskSchema(task), yaml, "the offered task",
                                 WithRounds({"model.onnx=offered.onnx"}, rounds)));
  task.train.model = {};
  return task;
}

std::string OfferedTask(const FederatedTask& task) {
  FederatedTask offered = task;
  TrainConfig& train = offered.train;
  train.model = {};
  train.run.output = RunConfig().output;
  train.run.threads = 0;
  const LoaderOptions loader = train.data.loader;
  train.data = {};
  train.data.loader = loader;
  train.data.loader.threads = 1;
  return PrintConfig(TaskSchema(offered));
}

TrainConfig OnSite(const FederatedTask& task, const TrainConfig& site) {
  TrainConfig config = task.train;
  config.data.set = site.data.set;
  config.data.train_limit = site.data.train_limit;
  config.data.test_limit = site.data.test_limit;
  config.data.partition = site.data.partition;
  config.data.test_batch_size = site.data.test_batch_size;
  config.data.loader.threads = site.data.loader.threads;
  config.run.threads = site.run.threads;
  // Of what is drawn, where the data are.
  config.run.seed = site.run.seed;
  return config;
}

}  // namespace ds::federated
