// Batches for one rank: sharded, shuffled, augmented and normalised by background threads.
//
// Everything is a pure function of (seed, epoch, sample index): the number of threads, the number
// of ranks and the moment of a resume change nothing in a sample's pixels. Rank r takes positions
// r, r+W, r+2W, ... of the epoch's permutation, so that the concatenation of the ranks' i-th
// batches is the i-th global batch of one rank.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/tensor/tensor.h"
#include "data/dataset.h"

namespace ds {

struct AugmentOptions {
  int64_t crop_padding =
      0;  // pixels of zero padding (after normalisation: the mean) before a random crop
  bool horizontal_flip = false;  // with probability 1/2
  int64_t cutout = 0;            // side of a square set to the mean; 0: off
  // A random part, resized to the network's size (Szegedy et al. 2015): its least share of the
  // picture's area, in (0, 1], usually 0.08; its sides' ratio is between 3/4 and 4/3. 0: off.
  double resized_crop = 0;
  // Colour jitter: factors drawn from 1 - x to 1 + x, in an order of their own each time; the hue
  // is turned by up to x of the circle, x in [0, 0.5]. 0: off.
  double brightness = 0, contrast = 0, saturation = 0, hue = 0;
  // RandAugment (Cubuk et al. 2020): so many operations a picture, each of this magnitude, 0..30.
  int64_t rand_augment = 0;
  int64_t rand_augment_magnitude = 9;
  // Mixed with another sample of the data set, labels alike: mixup (Zhang et al. 2018) and cutmix
  // (Yun et al. 2019), shares drawn from Beta(x, x). Both: one of them, by a coin. Targets are then
  // float32 [N, classes]. 0: off.
  double mixup = 0, cutmix = 0;

  bool operator==(const AugmentOptions&) const = default;
};

struct LoaderOptions {
  int64_t batch_size = 128;  // samples a rank
  int rank = 0;
  int world_size = 1;
  bool shuffle = true;
  // Last batch: true drops the part that does not fill batch_size on every rank; false keeps it.
  // With false every rank gets the same number of batches, and the last may be smaller (even empty
  // on some ranks).
  bool drop_last = true;
  int threads = 1;   // background threads, >= 1
  int prefetch = 4;  // batches ready ahead
  uint64_t seed = 0;
  AugmentOptions augment;
  std::vector<double> mean;    // a channel, of pixels in [0, 1]; empty: 0
  std::vector<double> stddev;  // a channel; empty: 1
  bool channels_last = true;   // bytes of `inputs` lie as NHWC (shape stays [N, C, H, W])
};

// One input of a batch: its name as ArrayInfo has it, and [N, ...].
struct BatchInput {
  std::string name;
  Tensor values;
};

struct Batch {
  // Images: one, float32 [N, C, H, W] (bytes NHWC if channels_last); text: one, int64 [N, T];
  // tensors: as DatasetInfo::inputs.
  std::vector<BatchInput> inputs;
  // int64 [N], [N, T] or [N, H, W]: classes; float32 [N] or [N, K]: values, or a share of each of K
  // classes (after mixup and cutmix too). Absent where the data has no labels.
  std::optional<Tensor> targets;
  bool channels_last = false;
  int64_t size() const { return inputs.empty() ? 0 : inputs[0].values.dim(0); }
};

class DataLoader {
 public:
  static absl::StatusOr<std::unique_ptr<DataLoader>> Create(std::shared_ptr<const Dataset> dataset,
                                                            LoaderOptions options);
  virtual ~DataLoader() = default;
  virtual const DatasetInfo& info() const = 0;
  virtual const LoaderOptions& options() const = 0;
  virtual int64_t batches_per_epoch() const = 0;
  // Starts epoch `epoch` (0-based) at batch `first_batch`; drops what was prefetched.
  virtual absl::Status StartEpoch(int64_t epoch, int64_t first_batch = 0) = 0;
  // The next batch of the epoch, nullopt after the last.
  virtual absl::StatusOr<std::optional<Batch>> Next() = 0;
};

// Mean and standard deviation a channel, of pixels in [0, 1], over the first `limit` samples (0:
// all); of a table (csv) a column, over all rows.
absl::Status MeanAndStddev(const Dataset& dataset, int64_t limit, std::vector<float>* mean,
                           std::vector<float>* stddev);

}  // namespace ds
