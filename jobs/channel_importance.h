// Taylor importance of a model's channels on a run's training data
// (prune/torch/taylor_importance.h).
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "jobs/config/train_config.h"
#include "jobs/data/data_setup.h"
#include "prune/pruning.h"

namespace ds {

// On the first `samples` training images, without augmentation, by cross entropy, in batches of 32.
// The same on every call; alone, whatever the number of ranks.
absl::StatusOr<ChannelImportance> MeasureChannelImportance(const TrainConfig& config,
                                                           const DataSplits& splits,
                                                           const Graph& graph, int64_t samples);

}  // namespace ds
