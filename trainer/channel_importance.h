// Taylor importance of a model's channels on a run's training data
// (quant/torch/taylor_importance.h).
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/pruning.h"
#include "trainer/config/train_config.h"
#include "trainer/data_setup.h"

namespace ds {

// On the first `samples` training images, without augmentation, by cross entropy, in batches of 32.
// The same on every call; alone, whatever the number of ranks.
absl::StatusOr<ChannelImportance> MeasureChannelImportance(const TrainConfig& config,
                                                           const DataSplits& splits,
                                                           const Graph& graph, int64_t samples);

}  // namespace ds
