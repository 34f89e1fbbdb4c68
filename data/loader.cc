#include "data/loader.h"

#include <atomic>
#include <cmath>
#include <exception>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status.h"
#include "data/batch_builder.h"
#include "data/recipe/rand_augment.h"
#include "data/sharding.h"

namespace ds {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxPrefetch = 1 << 16;
constexpr int64_t kMaxBatch = 1 << 24;
constexpr int64_t kMaxPixels = 1 << 16;            // crop padding, cutout side
constexpr int64_t kMaxSamples = int64_t{1} << 40;  // what the random streams can tell apart
constexpr int64_t kMaxEpochs = int64_t{1} << 32;

absl::Status CheckRange(const char* name, int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data loader: ", name, " ", value, " is not in ", lowest, "..", highest));
}

absl::Status CheckStatistics(const LoaderOptions& options, int64_t channels) {
  for (const auto& [name, values] :
       {std::pair("mean", &options.mean), std::pair("stddev", &options.stddev)}) {
    const bool divisor = values == &options.stddev;
    if (!values->empty() && static_cast<int64_t>(values->size()) != channels) {
      return absl::InvalidArgumentError(absl::StrCat("data loader: ", name, " has ", values->size(),
                                                     " values, the data has ", channels,
                                                     " channels; give one a channel"));
    }
    for (const double value : *values) {
      // Pixels are computed with floats.
      const float used = static_cast<float>(value);
      if (std::isfinite(used) && (!divisor || used > 0.0f)) continue;
      return absl::InvalidArgumentError(absl::StrCat("data loader: ", name, " ", value, " must be ",
                                                     divisor ? "above 0" : "a finite number"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTensorStatistics(const LoaderOptions& options, const DatasetInfo& info) {
  const bool fits = info.kind == SampleKind::kTensors && info.inputs.size() == 1 &&
                    info.inputs[0].dtype == DType::kFloat32 && !info.inputs[0].shape.empty();
  if (fits) return CheckStatistics(options, info.inputs[0].shape[0]);
  return absl::InvalidArgumentError(
      "data loader: mean and stddev are for images, and for tensors with one float32 input; leave "
      "them out");
}

absl::Status CheckFraction(const char* name, double value, double highest) {
  if (value >= 0 && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data loader: ", name, " ", value, " is not in 0..", highest));
}

absl::Status CheckAugment(const AugmentOptions& augment, const DatasetInfo& info) {
  constexpr double kMaxFactor = 100, kMaxShape = 1e6;
  DS_RETURN_IF_ERROR(CheckRange("crop padding", augment.crop_padding, 0, kMaxPixels));
  DS_RETURN_IF_ERROR(CheckRange("cutout", augment.cutout, 0, kMaxPixels));
  DS_RETURN_IF_ERROR(CheckFraction("resized crop", augment.resized_crop, 1));
  DS_RETURN_IF_ERROR(CheckFraction("brightness", augment.brightness, kMaxFactor));
  DS_RETURN_IF_ERROR(CheckFraction("contrast", augment.contrast, kMaxFactor));
  DS_RETURN_IF_ERROR(CheckFraction("saturation", augment.saturation, kMaxFactor));
  DS_RETURN_IF_ERROR(CheckFraction("hue", augment.hue, 0.5));
  DS_RETURN_IF_ERROR(CheckRange("RandAugment", augment.rand_augment, 0, kRandAugmentOperations));
  DS_RETURN_IF_ERROR(CheckRange("RandAugment's magnitude", augment.rand_augment_magnitude, 0,
                                kRandAugmentMagnitudes - 1));
  DS_RETURN_IF_ERROR(CheckFraction("mixup", augment.mixup, kMaxShape));
  DS_RETURN_IF_ERROR(CheckFraction("cutmix", augment.cutmix, kMaxShape));
  if (info.kind != SampleKind::kImage &&
      !(augment == AugmentOptions{.rand_augment_magnitude = augment.rand_augment_magnitude})) {
    return absl::InvalidArgumentError(
        "data loader: augmentation is for images, and the data holds none; switch it off");
  }
  const bool colors = augment.brightness > 0 || augment.contrast > 0 || augment.saturation > 0 ||
                      augment.hue > 0 || augment.rand_augment > 0;
  if (!colors || info.channels == 1 || info.channels == 3) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "data loader: colour jitter and RandAugment are for pictures of 1 or 3 channels, "
      "these have ",
      info.channels, "; switch them off"));
}

absl::Status CheckOptions(const LoaderOptions& options, const DatasetInfo& info) {
  DS_RETURN_IF_ERROR(CheckRange("batch_size", options.batch_size, 1, kMaxBatch));
  DS_RETURN_IF_ERROR(CheckRange("world_size", options.world_size, 1, 1 << 20));
  DS_RETURN_IF_ERROR(CheckRange("rank", options.rank, 0, options.world_size - 1));
  DS_RETURN_IF_ERROR(CheckRange("threads", options.threads, 1, kMaxThreads));
  DS_RETURN_IF_ERROR(CheckRange("prefetch", options.prefetch, 1, kMaxPrefetch));
  DS_RETURN_IF_ERROR(CheckRange("number of samples", info.size, 0, kMaxSamples - 1));
  DS_RETURN_IF_ERROR(CheckAugment(options.augment, info));
  if (info.kind == SampleKind::kImage) {
    DS_RETURN_IF_ERROR(CheckStatistics(options, info.channels));
  } else if (!options.mean.empty() || !options.stddev.empty()) {
    DS_RETURN_IF_ERROR(CheckTensorStatistics(options, info));
  }
  const int64_t global = options.batch_size * options.world_size;
  if (options.drop_last && info.size < global) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data loader: ", info.size, " samples do not fill one batch of ", options.batch_size,
        " on each of ", options.world_size,
        " ranks, and drop_last drops what is not full; use a smaller batch_size or drop_last "
        "false"));
  }
  return absl::OkStatus();
}

// Workers claim batch numbers in order and build them side by side; Next() hands them out in order.
// A worker never runs more than `prefetch` batches ahead of what was handed out.
class ThreadedLoader final : public DataLoader {
 public:
  ThreadedLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
      : info_(dataset->info()),
        options_(std::move(options)),
        sharding_{info_.size, options_.batch_size, options_.rank, options_.world_size,
                  options_.drop_last},
        builder_(std::move(dataset), options_) {
    workers_.reserve(options_.threads);
    for (int i = 0; i < options_.threads; ++i) workers_.emplace_back([this] { Work(); });
  }

  ~ThreadedLoader() override {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
      ++generation_;
    }
    work_.NotifyAll();
    for (std::thread& worker : workers_) worker.join();
  }

  const DatasetInfo& info() const override { return info_; }
  const LoaderOptions& options() const override { return options_; }
  int64_t batches_per_epoch() const override { return sharding_.batches(); }

  absl::Status StartEpoch(int64_t epoch, int64_t first_batch) override {
    DS_RETURN_IF_ERROR(CheckRange("epoch", epoch, 0, kMaxEpochs - 1));
    DS_RETURN_IF_ERROR(CheckRange("first batch", first_batch, 0, batches_per_epoch()));
    auto order = std::make_shared<const std::vector<int64_t>>(
        EpochOrder(info_.size, options_.shuffle, options_.seed, epoch));
    {
      const MutexLock lock(mutex_);
      ++generation_;
      order_ = std::move(order);
      epoch_ = epoch;
      claimed_ = delivered_ = first_batch;
      ready_.clear();
      failure_ = absl::OkStatus();
    }
    work_.NotifyAll();
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Batch>> Next() override {
    const MutexLock lock(mutex_);
    if (order_ == nullptr) {
      return absl::FailedPreconditionError("data loader: Next() before StartEpoch()");
    }
    if (!failure_.ok()) return failure_;
    if (delivered_ == batches_per_epoch()) return std::optional<Batch>();
    while (!ready_.contains(delivered_)) done_.Wait(mutex_);
    absl::StatusOr<Batch> batch = std::move(ready_.extract(delivered_).mapped());
    if (!batch.ok()) {
      failure_ =
          batch.status();  // until the next StartEpoch: a batch must not go missing in silence
      return failure_;
    }
    ++delivered_;
    work_.NotifyOne();
    return std::optional<Batch>(*std::move(batch));
  }

 private:
  struct Claim {
    uint64_t generation;
    int64_t epoch, batch;
    std::shared_ptr<const std::vector<int64_t>> order;
  };

  bool MayClaim() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return order_ != nullptr && failure_.ok() && claimed_ < batches_per_epoch() &&
           claimed_ < delivered_ + options_.prefetch;
  }

  // The next batch to build, nullopt once the loader goes down.
  std::optional<Claim> NextClaim() {
    const MutexLock lock(mutex_);
    while (!stopping_ && !MayClaim()) work_.Wait(mutex_);
    if (stopping_) return std::nullopt;
    return Claim{generation_, epoch_, claimed_++, order_};
  }

  void Work() {
    while (std::optional<Claim> claim = NextClaim()) {
      absl::StatusOr<Batch> batch = Build(*claim);
      const MutexLock lock(mutex_);
      if (claim->generation != generation_) continue;
      ready_.emplace(claim->batch, std::move(batch));
      done_.NotifyOne();
    }
  }

  absl::StatusOr<Batch> Build(const Claim& claim) const {
    std::vector<int64_t> samples = sharding_.Positions(claim.batch);
    for (int64_t& sample : samples) sample = (*claim.order)[sample];
    try {
      return builder_.Build(samples, claim.epoch, [&] { return generation_ != claim.generation; });
    } catch (const std::exception& e) {  // no memory, or a user's data set that throws
      return absl::ResourceExhaustedError(absl::StrCat("data loader: epoch ", claim.epoch,
                                                       ", batch ", claim.batch, ": ", e.what()));
    }
  }

  const DatasetInfo info_;
  const LoaderOptions options_;
  const Sharding sharding_;
  const BatchBuilder builder_;

  Mutex mutex_;
  CondVar work_;  // something to claim, or stopping
  CondVar done_;  // a batch is ready
  // Written under mutex_; workers look at it without, to leave an epoch that nobody wants any more.
  std::atomic<uint64_t> generation_{0};
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<const std::vector<int64_t>> order_ ABSL_GUARDED_BY(mutex_);
  int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t claimed_ ABSL_GUARDED_BY(mutex_) = 0;    // batches below were taken by a worker
  int64_t delivered_ ABSL_GUARDED_BY(mutex_) = 0;  // batches below were handed out
  std::map<int64_t, absl::StatusOr<Batch>> ready_ ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);

  std::vector<std::thread> workers_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataLoader>> DataLoader::Create(
    std::shared_ptr<const Dataset> dataset, LoaderOptions options) {
  if (dataset == nullptr) return absl::InvalidArgumentError("data loader: no data set");
  DS_RETURN_IF_ERROR(CheckOptions(options, dataset->info()));
  return std::unique_ptr<DataLoader>(
      std::make_unique<ThreadedLoader>(std::move(dataset), std::move(options)));
}

}  // namespace ds
