// Turns a list of samples into a batch: reads, augments, normalises and lays out. Stateless between
// batches, so that any number of threads may share one builder.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/augment.h"
#include "data/buffer_pool.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/recipe/mix.h"

namespace ds {

class BatchBuilder {
 public:
  // `options` have been checked against the data set by DataLoader::Create.
  BatchBuilder(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);

  // The batch of `samples` in epoch `epoch`. `cancelled` is asked before each sample; the answer
  // true makes it return Cancelled. Thread-safe.
  absl::StatusOr<Batch> Build(absl::Span<const int64_t> samples, int64_t epoch,
                              absl::FunctionRef<bool()> cancelled) const;

 private:
  absl::StatusOr<Batch> BuildImages(absl::Span<const int64_t> samples, int64_t epoch,
                                    absl::FunctionRef<bool()> cancelled) const;
  // What one thread needs for one batch.
  struct ImageScratch {
    std::vector<uint8_t> pixels;
    std::vector<float> partner;
  };
  // A sample as the epoch shows it: [C, H, W] floats in the batch's layout.
  absl::Status ReadSample(int64_t sample, int64_t epoch, ImageScratch& scratch, float* out,
                          int64_t& label) const;
  void Mix(const MixDraw& mix, absl::Span<const float> partner, float* out) const;
  // (x - mean) / stddev along the axis behind the samples'.
  void Standardise(Tensor& values) const;
  absl::StatusOr<Batch> BuildText(absl::Span<const int64_t> samples,
                                  absl::FunctionRef<bool()> cancelled) const;
  absl::StatusOr<Batch> BuildTensors(absl::Span<const int64_t> samples,
                                     absl::FunctionRef<bool()> cancelled) const;

  std::shared_ptr<const Dataset> dataset_;
  AugmentOptions augment_;
  uint64_t seed_;
  bool channels_last_;
  std::unique_ptr<const ImageTransform> transform_;  // images only
  std::vector<double> tensor_mean_, tensor_stddev_;  // tensors only; empty: as they are
  std::shared_ptr<BufferPool> pool_ = std::make_shared<BufferPool>();
};

}  // namespace ds
