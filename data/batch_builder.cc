#include "data/batch_builder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

std::vector<float> OrDefault(const std::vector<double>& values, int64_t channels, float otherwise) {
  if (values.empty()) return std::vector<float>(static_cast<size_t>(channels), otherwise);
  return {values.begin(), values.end()};
}

}  // namespace

BatchBuilder::BatchBuilder(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : dataset_(std::move(dataset)),
      augment_(options.augment),
      seed_(options.seed),
      channels_last_(options.channels_last) {
  const DatasetInfo& info = dataset_->info();
  if (info.kind == SampleKind::kImage) {
    transform_ = std::make_unique<const ImageTransform>(
        info.channels, info.height, info.width, OrDefault(options.mean, info.channels, 0.0f),
        OrDefault(options.stddev, info.channels, 1.0f), channels_last_);
  }
}

absl::StatusOr<Batch> BatchBuilder::Build(absl::Span<const int64_t> samples, int64_t epoch,
                                          absl::FunctionRef<bool()> cancelled) const {
  if (dataset_->info().kind == SampleKind::kText) return BuildText(samples, cancelled);
  return BuildImages(samples, epoch, cancelled);
}

absl::StatusOr<Batch> BatchBuilder::BuildImages(absl::Span<const int64_t> samples, int64_t epoch,
                                                absl::FunctionRef<bool()> cancelled) const {
  const DatasetInfo& info = dataset_->info();
  const int64_t count = samples.size();
  const int64_t elements = info.channels * info.height * info.width;
  Batch batch;
  batch.channels_last = channels_last_;
  batch.inputs = pool_->Take(DType::kFloat32, {count, info.channels, info.height, info.width});
  batch.labels = pool_->Take(DType::kInt64, {count});
  float* inputs = batch.inputs.mutable_span<float>().data();
  int64_t* labels = batch.labels.mutable_span<int64_t>().data();
  std::vector<uint8_t> pixels(elements);
  for (int64_t i = 0; i < count; ++i) {
    if (cancelled()) return absl::CancelledError("the epoch was left");
    DS_RETURN_IF_ERROR(dataset_->ReadImage(samples[i], absl::MakeSpan(pixels), &labels[i]));
    if (labels[i] < 0 || labels[i] >= info.classes) {
      return absl::DataLossError(absl::StrCat("sample ", samples[i], ": label ", labels[i],
                                              " is not in 0..", info.classes - 1));
    }
    const AugmentDraw draw =
        DrawAugment(augment_, info.height, info.width, seed_, epoch, samples[i]);
    transform_->Apply(draw, pixels, inputs + i * elements);
  }
  return batch;
}

absl::StatusOr<Batch> BatchBuilder::BuildText(absl::Span<const int64_t> samples,
                                              absl::FunctionRef<bool()> cancelled) const {
  const int64_t count = samples.size();
  const int64_t length = dataset_->info().sequence_length;
  Batch batch;
  batch.inputs = pool_->Take(DType::kInt64, {count, length});
  batch.labels = pool_->Take(DType::kInt64, {count, length});
  int64_t* inputs = batch.inputs.mutable_span<int64_t>().data();
  int64_t* labels = batch.labels.mutable_span<int64_t>().data();
  std::vector<int64_t> tokens(length + 1);
  for (int64_t i = 0; i < count; ++i) {
    if (cancelled()) return absl::CancelledError("the epoch was left");
    DS_RETURN_IF_ERROR(dataset_->ReadText(samples[i], absl::MakeSpan(tokens)));
    std::copy(tokens.begin(), tokens.end() - 1, inputs + i * length);
    std::copy(tokens.begin() + 1, tokens.end(), labels + i * length);
  }
  return batch;
}

}  // namespace ds
