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
  absl::StatusOr<Batch> BuildText(absl::Span<const int64_t> samples,
                                  absl::FunctionRef<bool()> cancelled) const;

  std::shared_ptr<const Dataset> dataset_;
  AugmentOptions augment_;
  uint64_t seed_;
  bool channels_last_;
  std::unique_ptr<const ImageTransform> transform_;  // images only
  std::shared_ptr<BufferPool> pool_ = std::make_shared<BufferPool>();
};

}  // namespace ds
