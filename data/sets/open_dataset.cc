#include "data/sets/open_dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "data/dataset_digest.h"
#include "data/sets/openers.h"
#include "data/sharding.h"

namespace ds {
namespace {

class InMemoryImages final : public Dataset {
 public:
  InMemoryImages(DatasetInfo info, std::vector<uint8_t> pixels, std::vector<uint8_t> labels)
      : info_(std::move(info)), pixels_(std::move(pixels)), labels_(std::move(labels)) {}

  const DatasetInfo& info() const override { return info_; }

  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    std::memcpy(pixels.data(), pixels_.data() + index * pixels.size(), pixels.size());
    *label = labels_[index];
    return absl::OkStatus();
  }

  absl::Status ReadText(int64_t, absl::Span<int64_t>) const override {
    return WrongKind(info_.kind, SampleKind::kText);
  }

  absl::StatusOr<DatasetDigest> Digest() const override {
    const size_t samples = static_cast<size_t>(info_.size);
    const size_t pixels =
        samples * static_cast<size_t>(info_.channels * info_.height * info_.width);
    DataChecksum checksum;
    checksum.Add(absl::MakeConstSpan(pixels_).first(pixels));
    checksum.Add(absl::MakeConstSpan(labels_).first(samples));
    return DatasetDigest{checksum.Text(), "all bytes"};
  }

 private:
  DatasetInfo info_;
  std::vector<uint8_t> pixels_;
  std::vector<uint8_t> labels_;
};

absl::Status CheckOptions(const DatasetOptions& options) {
  if (options.split != "train" && options.split != "test") {
    return absl::InvalidArgumentError(
        absl::StrCat("data split \"", options.split, "\" is unknown; use \"train\" or \"test\""));
  }
  if (options.limit < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("data limit ", options.limit, " is negative; use 0 for all samples"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Dataset>> OpenDataset(const DatasetOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  if (options.type == "idx") return OpenIdx(options);
  if (options.type == "cifar10") return OpenCifar(options, 10);
  if (options.type == "cifar100") return OpenCifar(options, 100);
  if (options.type == "images") return OpenImageFolder(options);
  if (options.type == "text") return OpenText(options);
  if (options.type == "tensors") return OpenTensors(options);
  if (options.type == "csv") return OpenCsv(options);
  if (options.type == "synthetic") return OpenSynthetic(options);
  return absl::InvalidArgumentError(
      absl::StrCat("data type \"", options.type,
                   "\" is unknown; use idx, cifar10, cifar100, images, text, tensors, csv or "
                   "synthetic"));
}

std::vector<std::string> DatasetSearchPath(absl::string_view type) {
  if (type == "idx") {
    return {"data/fashion-mnist", "/usr/share/datasets/fashion-mnist", "data/mnist"};
  }
  if (type == "cifar10") {
    return {"data/cifar-10-batches-bin", "/usr/share/datasets/cifar-10-batches-bin"};
  }
  if (type == "cifar100") {
    return {"data/cifar-100-binary", "/usr/share/datasets/cifar-100-binary"};
  }
  if (type == "images") return {"data/images", "data/imagenet"};
  if (type == "tensors") return {"data/tensors"};
  if (type == "csv") return {"data/table", "data/table.csv"};
  if (type == "text") return {"data/text.txt", "data/input.txt"};
  return {};
}

absl::StatusOr<std::vector<int64_t>> RowsOfSplit(int64_t size, const DatasetOptions& options,
                                                 absl::string_view place) {
  const double fraction = options.validation_fraction;
  if (!(fraction >= 0.0 && fraction < 1.0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("validation_fraction ", fraction, " is not in [0, 1)"));
  }
  const bool train = options.split == "train";
  const int64_t held_out = std::llround(fraction * static_cast<double>(size));
  std::vector<int64_t> order = EpochOrder(size, /*shuffle=*/true, /*seed=*/0, /*epoch=*/0);
  std::vector<int64_t> rows(train ? order.begin() : order.end() - held_out,
                            train ? order.end() - held_out : order.end());
  if (rows.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": ", size, " samples leave none for the ", options.split, " split (",
                     fraction, " of them are held out); give it splits of its own"));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

DatasetPtr MakeInMemoryImages(DatasetInfo info, std::vector<uint8_t> pixels,
                              std::vector<uint8_t> labels) {
  return std::make_shared<InMemoryImages>(std::move(info), std::move(pixels), std::move(labels));
}

std::vector<std::string> Places(const DatasetOptions& options) {
  if (!options.path.empty()) return {options.path};
  return DatasetSearchPath(options.type);
}

absl::Status MissingData(absl::string_view what, const std::vector<std::string>& tried,
                         absl::string_view advice) {
  return absl::NotFoundError(
      absl::StrCat(what, " not found; looked for\n  ", absl::StrJoin(tried, "\n  "), "\n", advice));
}

}  // namespace ds
