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

struct Batch {
  Tensor inputs;  // float32 [N, C, H, W] (bytes NHWC if channels_last) | int64 [N, T]
  Tensor labels;  // int64 [N] | [N, T]
  bool channels_last = false;
  int64_t size() const { return labels.rank() ? labels.dim(0) : 0; }
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
// all).
absl::Status MeanAndStddev(const Dataset& dataset, int64_t limit, std::vector<float>* mean,
                           std::vector<float>* stddev);

}  // namespace ds
