// A site's training on LibTorch: what ds_train does with a model and data, for one round at a time,
// from the weights that the round gives. Torch-free header.
//
// A round begins with a fresh optimiser and takes its learning rate from the task's schedule, in
// which a round is a step; samples are shuffled by (the run's seed, site, round). The same weights
// and round give the same bits on one machine, if the task's precision is not auto, which is chosen
// once by a short probe in the first round.
#pragma once

#include <memory>
#include <string>

#include "federated/agent/local_trainer.h"
#include "jobs/config/train_config.h"

namespace ds::federated {

struct TorchTrainerOptions {
  std::string site;  // its name: no two sites draw the same batches
  // Only its data section and run.threads count (OnSite, task.h). A test split that is not there
  // (NotFound) is left out: the site does not evaluate.
  TrainConfig config;
};

// Errors of Open: the task's (ParseTask), the data's, and InvalidArgument where they do not fit
// each other: the model's input and classes, or images without the task's data.mean. Of Train:
// InvalidArgument where the training diverges. Not thread-safe but for Interrupt, which is seen
// before each step.
std::unique_ptr<LocalTrainer> MakeTorchTrainer(TorchTrainerOptions options);

}  // namespace ds::federated
