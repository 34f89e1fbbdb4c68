#include "data/partition.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/dataset_checks.h"
#include "data/sample_random.h"

namespace ds {
namespace {

using Shares = std::vector<std::vector<int64_t>>;  // by site

// Of one class, by site; they add up to 1.
std::vector<double> Proportions(int64_t label, const PartitionOptions& options) {
  std::vector<double> share(static_cast<size_t>(options.sites));
  for (size_t site = 0; site < share.size(); ++site) {
    SampleRandom random(options.seed, RandomPurpose::kPartition, static_cast<uint64_t>(label),
                        site);
    share[site] = LogGamma(options.alpha, random);
  }
  const double greatest = *std::max_element(share.begin(), share.end());
  double sum = 0;
  for (double& value : share) sum += value = std::exp(value - greatest);
  for (double& value : share) value /= sum;
  return share;
}

// `samples` in an order of their own for each `what`.
void Shuffle(uint64_t seed, int64_t what, std::vector<int64_t>& samples) {
  // Sites end below 2^32, so that this stream is none of the proportions'.
  constexpr uint64_t kOrder = uint64_t{1} << 32;
  SampleRandom random(seed, RandomPurpose::kPartition, static_cast<uint64_t>(what), kOrder);
  for (size_t i = samples.size(); i > 1; --i) std::swap(samples[i - 1], samples[random.Below(i)]);
}

// Cuts `samples` where the proportions, added up, say.
void Deal(const std::vector<int64_t>& samples, const std::vector<double>& proportions,
          Shares& shares) {
  double upto = 0;
  size_t begin = 0;
  for (size_t site = 0; site < shares.size(); ++site) {
    upto += proportions[site];
    const bool last = site + 1 == shares.size();
    const size_t end = last ? samples.size()
                            : std::clamp(static_cast<size_t>(std::llround(upto * samples.size())),
                                         begin, samples.size());
    shares[site].insert(shares[site].end(), samples.begin() + begin, samples.begin() + end);
    begin = end;
  }
}

// Sites with next to nothing get samples from the one that has most.
void KeepLeast(int64_t size, Shares& shares) {
  const size_t least = static_cast<size_t>(
      std::min(kLeastSamplesOfSite, size / static_cast<int64_t>(shares.size())));
  for (std::vector<int64_t>& poor : shares) {
    while (poor.size() < least) {
      auto rich = std::max_element(shares.begin(), shares.end(), [](const auto& a, const auto& b) {
        return a.size() < b.size();
      });
      poor.push_back(rich->back());
      rich->pop_back();
    }
  }
}

absl::Status CheckOptions(int64_t size, const PartitionOptions& options) {
  constexpr int64_t kMostSites = 1 << 20;
  if (options.sites < 1 || options.sites > kMostSites) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.partition.sites is ", options.sites, "; it must be in 1..", kMostSites));
  }
  if (options.site < 0 || options.site >= options.sites) {
    return absl::InvalidArgumentError(absl::StrCat("data.partition.site is ", options.site,
                                                   "; it must be in 0..", options.sites - 1));
  }
  if (!(options.alpha >= 0) || !std::isfinite(options.alpha)) {
    return absl::InvalidArgumentError(absl::StrCat("data.partition.alpha is ", options.alpha,
                                                   "; it must be above 0, or 0 for equal shares"));
  }
  if (size >= options.sites) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("data.partition: ", size, " samples for ",
                                                 options.sites, " sites; lower sites"));
}

class PartialDataset final : public Dataset {
 public:
  PartialDataset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> samples)
      : whole_(std::move(whole)), samples_(std::move(samples)), info_(whole_->info()) {
    info_.size = static_cast<int64_t>(samples_.size());
  }

  const DatasetInfo& info() const override { return info_; }

  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    return whole_->ReadImage(samples_[static_cast<size_t>(index)], pixels, label);
  }

  absl::Status ReadCrop(int64_t index, BoxChooser choose, absl::Span<uint8_t> pixels,
                        int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    return whole_->ReadCrop(samples_[static_cast<size_t>(index)], choose, pixels, label);
  }

  absl::Status ReadText(int64_t index, absl::Span<int64_t> tokens) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kText, index, tokens.size()));
    return whole_->ReadText(samples_[static_cast<size_t>(index)], tokens);
  }

  absl::Status ReadTensors(int64_t index, absl::Span<const absl::Span<std::byte>> inputs,
                           absl::Span<std::byte> target) const override {
    DS_RETURN_IF_ERROR(CheckReadTensors(info_, index, inputs, target));
    return whole_->ReadTensors(samples_[static_cast<size_t>(index)], inputs, target);
  }

 private:
  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> samples_;
  DatasetInfo info_;
};

// Of images, and of tensors with one class a sample.
absl::StatusOr<std::vector<int64_t>> ReadTensorLabels(const Dataset& dataset) {
  const DatasetInfo& info = dataset.info();
  std::vector<std::vector<std::byte>> sample;
  std::vector<absl::Span<std::byte>> inputs;
  for (const ArrayInfo& input : info.inputs) sample.emplace_back(SampleBytes(input));
  for (std::vector<std::byte>& bytes : sample) inputs.push_back(absl::MakeSpan(bytes));
  std::vector<int64_t> labels(static_cast<size_t>(info.size));
  for (int64_t i = 0; i < info.size; ++i) {
    auto* label = reinterpret_cast<std::byte*>(&labels[static_cast<size_t>(i)]);
    DS_RETURN_IF_ERROR(dataset.ReadTensors(i, inputs, absl::MakeSpan(label, sizeof(int64_t))));
  }
  return labels;
}

absl::StatusOr<std::vector<int64_t>> ReadLabels(const Dataset& dataset) {
  const DatasetInfo& info = dataset.info();
  if (info.kind == SampleKind::kTensors) return ReadTensorLabels(dataset);
  std::vector<uint8_t> pixels(static_cast<size_t>(info.channels * info.height * info.width));
  std::vector<int64_t> labels(static_cast<size_t>(info.size));
  for (int64_t i = 0; i < info.size; ++i) {
    DS_RETURN_IF_ERROR(
        dataset.ReadImage(i, absl::MakeSpan(pixels), &labels[static_cast<size_t>(i)]));
  }
  return labels;
}

bool HasOneClass(const DatasetInfo& info) {
  if (info.kind != SampleKind::kTensors) return info.kind == SampleKind::kImage;
  return info.target.has_value() && info.target->dtype == DType::kInt64 &&
         info.target->shape.empty();
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> SamplesOfSite(absl::Span<const int64_t> labels,
                                                   int64_t classes,
                                                   const PartitionOptions& options) {
  const auto size = static_cast<int64_t>(labels.size());
  DS_RETURN_IF_ERROR(CheckOptions(size, options));
  const bool even = options.alpha == 0;
  Shares of_class(static_cast<size_t>(even ? 1 : classes));
  for (int64_t i = 0; i < size; ++i) {
    const int64_t label = labels[static_cast<size_t>(i)];
    if (label < 0 || label >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat("sample ", i, " has label ", label, ", not one of ", classes, " classes"));
    }
    of_class[even ? 0 : static_cast<size_t>(label)].push_back(i);
  }
  Shares shares(static_cast<size_t>(options.sites));
  for (size_t label = 0; label < of_class.size(); ++label) {
    Shuffle(options.seed, static_cast<int64_t>(label), of_class[label]);
    const std::vector<double> proportions =
        even ? std::vector<double>(shares.size(), 1.0 / static_cast<double>(shares.size()))
             : Proportions(static_cast<int64_t>(label), options);
    Deal(of_class[label], proportions, shares);
  }
  KeepLeast(size, shares);
  std::vector<int64_t> mine = std::move(shares[static_cast<size_t>(options.site)]);
  std::sort(mine.begin(), mine.end());
  return mine;
}

absl::StatusOr<std::shared_ptr<const Dataset>> PartOfSite(std::shared_ptr<const Dataset> dataset,
                                                          const PartitionOptions& options) {
  if (options.sites == 1 && options.site == 0) return dataset;
  const DatasetInfo& info = dataset->info();
  if (!HasOneClass(info) && options.alpha != 0) {
    return absl::InvalidArgumentError(
        "data.partition.alpha deals samples by their class, and this data has no single class a "
        "sample; set it to 0 for equal shares");
  }
  std::vector<int64_t> labels(static_cast<size_t>(info.size));
  if (options.alpha != 0) {
    DS_ASSIGN_OR_RETURN(labels, ReadLabels(*dataset));
  }
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> samples,
                      SamplesOfSite(labels, std::max<int64_t>(1, info.classes), options));
  return std::make_shared<PartialDataset>(std::move(dataset), std::move(samples));
}

}  // namespace ds
