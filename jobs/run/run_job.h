// What ds_run does: a .dsm file on a data set, or on one picture.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/config/train_config.h"

namespace ds {

struct RunJobOptions {
  std::string model;  // a .dsm file
  std::string isa;    // as engine::ModelOptions has it
  int threads = 1;
  int64_t batch = 0;           // of the file's shapes the first of this batch; 0: the first
  std::string split = "test";  // or "train"
  int64_t limit = 0;           // samples; 0: as the configuration says
  int top = 5;                 // classes of a picture
};

// Of a classifier on a labelled data set.
struct RunScore {
  int64_t samples = 0, correct = 0, correct_of_five = 0;
  double seconds = 0;  // in the engine alone, reading left out
};

// Every sample once, in order, normalised as the configuration's data section says (mean and
// stddev measured on the training split where it has none). A sample with the ignored label does
// not count. InvalidArgument where model and data do not go together: inputs, sizes, labels.
absl::StatusOr<RunScore> RunOnData(TrainConfig config, const RunJobOptions& options);

// The classes with the highest scores of a picture, the highest first: (class, score). It is
// resized and cut as an image folder's test pictures are; mean and stddev as above.
absl::StatusOr<std::vector<std::pair<int64_t, float>>> RunOnPicture(const TrainConfig& config,
                                                                    const std::string& picture,
                                                                    const RunJobOptions& options);

}  // namespace ds
