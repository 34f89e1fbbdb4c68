#include "data/batch_builder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/recipe/rand_augment.h"
#include "data/recipe/resized_crop.h"
#include "data/sample_random.h"

namespace ds {
namespace {

bool Mixes(const AugmentOptions& options) { return options.mixup > 0 || options.cutmix > 0; }

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
  if (info.kind == SampleKind::kTensors) {
    tensor_mean_ = options.mean;
    tensor_stddev_ = options.stddev;
    if (tensor_mean_.empty()) tensor_mean_.assign(tensor_stddev_.size(), 0.0);
    if (tensor_stddev_.empty()) tensor_stddev_.assign(tensor_mean_.size(), 1.0);
  }
  if (info.kind == SampleKind::kImage) {
    transform_ = std::make_unique<const ImageTransform>(
        info.channels, info.height, info.width, OrDefault(options.mean, info.channels, 0.0f),
        OrDefault(options.stddev, info.channels, 1.0f), channels_last_);
  }
}

absl::StatusOr<Batch> BatchBuilder::Build(absl::Span<const int64_t> samples, int64_t epoch,
                                          absl::FunctionRef<bool()> cancelled) const {
  if (dataset_->info().kind == SampleKind::kText) return BuildText(samples, cancelled);
  if (dataset_->info().kind == SampleKind::kTensors) return BuildTensors(samples, cancelled);
  return BuildImages(samples, epoch, cancelled);
}

absl::StatusOr<Batch> BatchBuilder::BuildImages(absl::Span<const int64_t> samples, int64_t epoch,
                                                absl::FunctionRef<bool()> cancelled) const {
  const DatasetInfo& info = dataset_->info();
  const int64_t count = samples.size();
  const int64_t elements = info.channels * info.height * info.width;
  const bool mixes = Mixes(augment_);
  Tensor images = pool_->Take(DType::kFloat32, {count, info.channels, info.height, info.width});
  Tensor targets = mixes ? pool_->Take(DType::kFloat32, {count, info.classes})
                         : pool_->Take(DType::kInt64, {count});
  float* inputs = images.mutable_span<float>().data();
  if (mixes) std::fill_n(targets.mutable_span<float>().data(), count * info.classes, 0.0f);
  ImageScratch scratch;
  for (int64_t i = 0; i < count; ++i) {
    if (cancelled()) return absl::CancelledError("the epoch was left");
    float* const out = inputs + i * elements;
    int64_t label = 0;
    DS_RETURN_IF_ERROR(ReadSample(samples[i], epoch, scratch, out, label));
    if (!mixes) {
      targets.mutable_span<int64_t>()[i] = label;
      continue;
    }
    const MixDraw mix = DrawMix(augment_, info, seed_, epoch, samples[i]);
    float* const shares = targets.mutable_span<float>().data() + i * info.classes;
    shares[label] = static_cast<float>(mix.share);
    if (mix.share == 1) continue;
    scratch.partner.resize(elements);
    DS_RETURN_IF_ERROR(ReadSample(mix.partner, epoch, scratch, scratch.partner.data(), label));
    shares[label] += static_cast<float>(1 - mix.share);
    Mix(mix, scratch.partner, out);
  }
  Batch batch;
  batch.channels_last = channels_last_;
  batch.inputs.push_back({"", std::move(images)});
  batch.targets = std::move(targets);
  return batch;
}

absl::Status BatchBuilder::ReadSample(int64_t sample, int64_t epoch, ImageScratch& scratch,
                                      float* out, int64_t& label) const {
  const DatasetInfo& info = dataset_->info();
  const auto a = static_cast<uint64_t>(epoch), b = static_cast<uint64_t>(sample);
  scratch.pixels.resize(static_cast<size_t>(info.channels * info.height * info.width));
  const absl::Span<uint8_t> pixels = absl::MakeSpan(scratch.pixels);
  if (augment_.resized_crop > 0) {
    SampleRandom random(seed_, RandomPurpose::kResizedCrop, a, b);
    const auto choose = [&](int64_t height, int64_t width) {
      return DrawResizedCrop(augment_.resized_crop, height, width, random);
    };
    DS_RETURN_IF_ERROR(dataset_->ReadCrop(sample, choose, pixels, &label));
  } else {
    DS_RETURN_IF_ERROR(dataset_->ReadImage(sample, pixels, &label));
  }
  if (label == info.ignored_label) {
    if (!Mixes(augment_)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("sample ", sample, ": its label ", label,
                     " stands for no class (loss.ignore_index), and mixup and cutmix mix classes; "
                     "leave such samples out, or do without them"));
  }
  if (label < 0 || label >= info.classes) {
    return absl::DataLossError(
        absl::StrCat("sample ", sample, ": label ", label, " is not in 0..", info.classes - 1));
  }
  const Picture picture{pixels, info.channels, info.height, info.width};
  SampleRandom color(seed_, RandomPurpose::kColor, a, b);
  JitterColors(augment_, picture, color);
  SampleRandom random(seed_, RandomPurpose::kRandAugment, a, b);
  RandAugment(augment_, picture, random);
  transform_->Apply(DrawAugment(augment_, info.height, info.width, seed_, epoch, sample), pixels,
                    out);
  return absl::OkStatus();
}

void BatchBuilder::Mix(const MixDraw& mix, absl::Span<const float> partner, float* out) const {
  const DatasetInfo& info = dataset_->info();
  if (mix.box.height * mix.box.width == 0) {
    const auto share = static_cast<float>(mix.share);
    for (size_t k = 0; k < partner.size(); ++k) out[k] = share * out[k] + (1 - share) * partner[k];
    return;
  }
  // Floats that lie together: a pixel, or a channel's.
  const int64_t planes = channels_last_ ? 1 : info.channels;
  const int64_t pixel = channels_last_ ? info.channels : 1;
  for (int64_t p = 0; p < planes; ++p) {
    for (int64_t y = mix.box.y; y < mix.box.y + mix.box.height; ++y) {
      const int64_t at = ((p * info.height + y) * info.width + mix.box.x) * pixel;
      std::copy_n(partner.data() + at, mix.box.width * pixel, out + at);
    }
  }
}

absl::StatusOr<Batch> BatchBuilder::BuildText(absl::Span<const int64_t> samples,
                                              absl::FunctionRef<bool()> cancelled) const {
  const int64_t count = samples.size();
  const int64_t length = dataset_->info().sequence_length;
  Tensor text = pool_->Take(DType::kInt64, {count, length});
  Tensor targets = pool_->Take(DType::kInt64, {count, length});
  int64_t* inputs = text.mutable_span<int64_t>().data();
  int64_t* labels = targets.mutable_span<int64_t>().data();
  std::vector<int64_t> tokens(length + 1);
  for (int64_t i = 0; i < count; ++i) {
    if (cancelled()) return absl::CancelledError("the epoch was left");
    DS_RETURN_IF_ERROR(dataset_->ReadText(samples[i], absl::MakeSpan(tokens)));
    std::copy(tokens.begin(), tokens.end() - 1, inputs + i * length);
    std::copy(tokens.begin() + 1, tokens.end(), labels + i * length);
  }
  Batch batch;
  batch.inputs.push_back({"", std::move(text)});
  batch.targets = std::move(targets);
  return batch;
}

absl::StatusOr<Batch> BatchBuilder::BuildTensors(absl::Span<const int64_t> samples,
                                                 absl::FunctionRef<bool()> cancelled) const {
  const DatasetInfo& info = dataset_->info();
  const auto take = [&](const ArrayInfo& array) {
    Shape shape = {static_cast<int64_t>(samples.size())};
    shape.insert(shape.end(), array.shape.begin(), array.shape.end());
    return pool_->Take(array.dtype, std::move(shape));
  };
  Batch batch;
  for (const ArrayInfo& input : info.inputs) batch.inputs.push_back({input.name, take(input)});
  if (info.target.has_value()) batch.targets = take(*info.target);
  const auto part = [&](Tensor& whole, size_t i) {
    const size_t bytes = static_cast<size_t>(whole.size_bytes()) / samples.size();
    return absl::MakeSpan(whole.mutable_data() + i * bytes, bytes);
  };
  std::vector<absl::Span<std::byte>> inputs(batch.inputs.size());
  for (size_t i = 0; i < samples.size(); ++i) {
    if (cancelled()) return absl::CancelledError("the epoch was left");
    for (size_t k = 0; k < inputs.size(); ++k) inputs[k] = part(batch.inputs[k].values, i);
    absl::Span<std::byte> target;
    if (batch.targets.has_value()) target = part(*batch.targets, i);
    DS_RETURN_IF_ERROR(dataset_->ReadTensors(samples[i], inputs, target));
  }
  if (!tensor_mean_.empty()) Standardise(batch.inputs[0].values);
  return batch;
}

void BatchBuilder::Standardise(Tensor& values) const {
  const auto channels = static_cast<int64_t>(tensor_mean_.size());
  const absl::Span<float> all = values.mutable_span<float>();
  if (all.empty()) return;
  const int64_t inner = values.num_elements() / values.dim(0) / channels;
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t c = i / static_cast<size_t>(inner) % tensor_mean_.size();
    all[i] = static_cast<float>((all[i] - tensor_mean_[c]) / tensor_stddev_[c]);
  }
}

}  // namespace ds
