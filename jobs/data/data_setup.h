// Data sets and loaders as a configuration's data section asks for them: for training, and for
// whatever looks at the same data.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/loader.h"
#include "jobs/config/train_config.h"

namespace ds {

struct DataSplits {
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> test;
  std::vector<std::string> notes;  // what a person should hear of them
};

// On one rank: a line of the log each.
void SayNotes(const DataSplits& splits);

// One split, "train" or "test": the site's part of it where data.partition asks for one.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenSplit(const TrainConfig& config,
                                                         const std::string& split);

// Opens both splits and fills in `config.data.loader.mean` and `stddev` if they are empty (measured
// on the training split). A channel that is the same everywhere has stddev 1, and a note.
// InvalidArgument where the splits' shapes or classes differ, or the statistics do not fit the
// channels.
absl::StatusOr<DataSplits> OpenSplits(TrainConfig& config);

enum class DataUse { kTrain, kTest, kCalibrate };

// kTrain: shuffled and augmented, data.batch_size; kTest: in order; kCalibrate: shuffled, as the
// test sees images; both data.test_batch_size. InvalidArgument where a batch is more than the
// split.
absl::StatusOr<std::unique_ptr<DataLoader>> MakeLoader(const TrainConfig& config,
                                                       std::shared_ptr<const Dataset> dataset,
                                                       DataUse use, int rank = 0,
                                                       int world_size = 1);

}  // namespace ds
