// A run that takes a second or so: what tests of training jobs begin with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jobs/config/train_config.h"
#include "report/summary.h"

namespace ds {

// ResNet-8 in fp32 on `size` synthetic images of 1 x 8 x 8, 4 classes, in batches of 16; nothing is
// kept beside the results.
TrainConfig SmallTrainConfig(int64_t epochs, int64_t size);

struct JobResult {
  std::vector<std::vector<std::string>> hashes;  // of each rank's parameters, after every step
  std::vector<RunSummary> summaries;             // of each rank
  // On the whole test split, of the model.onnx that the run has left; none without one.
  std::optional<double> file_accuracy;
};

// Runs the whole job on so many ranks, threads of this process.
JobResult TrainJobOnRanks(const TrainConfig& config, int ranks);

}  // namespace ds
