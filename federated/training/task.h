// The training that a run offers to its sites, as YAML: ds_train's configuration (docs/
// configuration.md) without model and data, and a section `federated`. What counts epochs there
// counts rounds here: schedule.warmup_epochs, schedule.milestones, quantization.start_epoch and
// freeze_epochs. Torch-free.
//
// A site's own configuration says where its samples come from; the task, how they are treated:
// batch_size, drop_last, augment, mean and stddev.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/schema.h"
#include "jobs/config/train_config.h"

namespace ds::federated {

// A round at one site.
struct LocalTrainingOptions {
  int64_t epochs = 1;  // passes over the site's data, >= 1
  int64_t steps = 0;   // optimiser steps instead, the same at every site; 0: `epochs` counts
};

struct FederatedTask {
  TrainConfig train;
  LocalTrainingOptions local;
};

// Bound to `task`, which must outlive it.
ConfigSchema TaskSchema(FederatedTask& task);

// A whole task: `path` names model and data too, the server's own, as a file for ds_train does.
absl::StatusOr<FederatedTask> ReadTask(const std::string& path,
                                       const std::vector<std::string>& overrides, int64_t rounds);
// An offer's task, of `rounds` rounds. InvalidArgument as ParseTrainConfig, and for what a site
// cannot do alone or the same again: sections pruning and gating, ema, compression, sync.every,
// schedule plateau, qat's stages and distillation.
absl::StatusOr<FederatedTask> ParseTask(absl::string_view yaml, int64_t rounds);
// What an offer says of `task`: without model, output and where samples come from.
std::string OfferedTask(const FederatedTask& task);

// `task` on a site's data.
TrainConfig OnSite(const FederatedTask& task, const TrainConfig& site);

}  // namespace ds::federated
