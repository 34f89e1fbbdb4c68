// Arrays by the names of the model's inputs, mapped: <path>/train and <path>/test with .npy, .npz
// or .safetensors files, <path>/train.npz and <path>/test.npz, or a folder or file that is dealt to
// both splits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "data/arrays/array_files.h"
#include "data/sets/openers.h"
#include "data/sets/target_array.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxSampleBytes = int64_t{1} << 31;

class TensorSet final : public OnlyTensors {
 public:
  // `rows`: which of the arrays' rows are samples; empty: the first info.size.
  TensorSet(DatasetInfo info, std::vector<StoredArray> inputs, std::optional<TargetArray> target,
            std::vector<int64_t> rows)
      : info_(std::move(info)),
        inputs_(std::move(inputs)),
        target_(std::move(target)),
        rows_(std::move(rows)) {}

  const DatasetInfo& info() const override { return info_; }
  absl::Status ReadTensors(int64_t index, absl::Span<const absl::Span<std::byte>> inputs,
                           absl::Span<std::byte> target) const override {
    DS_RETURN_IF_ERROR(CheckReadTensors(info_, index, inputs, target));
    const int64_t row = rows_.empty() ? index : rows_[static_cast<size_t>(index)];
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].empty()) continue;
      std::memcpy(inputs[i].data(),
                  inputs_[i].bytes.data() + static_cast<size_t>(row) * inputs[i].size(),
                  inputs[i].size());
    }
    return target_.has_value() ? target_->Read(row, target) : absl::OkStatus();
  }

 private:
  DatasetInfo info_;
  std::vector<StoredArray> inputs_;
  std::optional<TargetArray> target_;
  std::vector<int64_t> rows_;
};

struct Found {
  std::vector<StoredArray> arrays;
  std::string place;
  bool whole = false;  // not split: dealt to both
};

bool IsFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The arrays of a split: its folder, its file, or what is there for both.
absl::StatusOr<Found> FindArrays(const DatasetOptions& options) {
  std::vector<std::string> names = {options.split};
  if (options.split == "test") names.push_back("val");
  std::vector<std::string> tried;
  for (const std::string& place : Places(options)) {
    Found found;
    found.place = place;
    found.whole = true;
    if (IsFile(place)) {
      DS_ASSIGN_OR_RETURN(found.arrays, ReadArrayFile(place));
      return found;
    }
    found.whole = false;
    for (const std::string& name : names) {
      const std::string stem = (fs::path(place) / name).string();
      std::error_code ignored;
      if (fs::is_directory(stem, ignored)) {
        found.place = stem;
        DS_ASSIGN_OR_RETURN(found.arrays, ReadArrayFolder(stem));
        return found;
      }
      for (const char* ending : {".npz", ".safetensors"}) {
        found.place = stem + ending;
        if (!IsFile(found.place)) continue;
        DS_ASSIGN_OR_RETURN(found.arrays, ReadArrayFile(found.place));
        return found;
      }
      tried.push_back(stem + "[.npz, .safetensors]");
    }
    // With a training split beside it, a folder's own files are no test data.
    const std::string train = (fs::path(place) / "train").string();
    std::error_code ignored;
    if (!fs::is_directory(place, ignored) || fs::exists(train, ignored) || IsFile(train + ".npz") ||
        IsFile(train + ".safetensors")) {
      continue;
    }
    found.place = place;
    found.whole = true;
    DS_ASSIGN_OR_RETURN(found.arrays, ReadArrayFolder(place));
    if (!found.arrays.empty()) return found;
  }
  return MissingData(absl::StrCat("tensors (", options.split, " split)"), tried,
                     "Layout: <path>/train and <path>/test (or val) with an array an input, named "
                     "as the model's inputs (input_ids.npy, or one .npz or .safetensors with "
                     "arrays of those names), the first axis the samples; labels.npy for labels. A "
                     "folder or file without splits is dealt to both.");
}

// Takes the labels out of `arrays`, if there are any.
absl::StatusOr<std::optional<StoredArray>> TakeTarget(const DatasetOptions& options, Found& found) {
  if (options.targets.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.target names ", options.targets.size(),
                     " arrays; tensors have one, [N, K] for K values a sample"));
  }
  const bool asked = !options.targets.empty();
  std::vector<std::string> names = {"labels", "targets"};
  if (asked) names = options.targets;
  std::vector<std::string> have;
  for (auto it = found.arrays.begin(); it != found.arrays.end(); ++it) {
    have.push_back(it->name);
    if (std::find(names.begin(), names.end(), it->name) == names.end()) continue;
    StoredArray target = std::move(*it);
    found.arrays.erase(it);
    return std::optional<StoredArray>(std::move(target));
  }
  if (!asked) return std::optional<StoredArray>();
  return absl::NotFoundError(absl::StrCat(found.place, ": no array '", names[0],
                                          "' (data.target); there are ",
                                          absl::StrJoin(have, ", ")));
}

absl::Status CheckArray(const StoredArray& array, const StoredArray& first) {
  if (BitWidth(array.dtype) < 8) {
    return absl::InvalidArgumentError(absl::StrCat(array.origin, ": '", array.name, "' is ",
                                                   Name(array.dtype),
                                                   "; save integers of 8 bits or more"));
  }
  if (array.shape.empty() || array.shape[0] == 0) {
    return absl::InvalidArgumentError(absl::StrCat(array.origin, ": '", array.name, "' has shape ",
                                                   ShapeString(array.shape),
                                                   ", no samples; the first axis is the samples'"));
  }
  if (array.shape[0] != first.shape[0]) {
    return absl::InvalidArgumentError(
        absl::StrCat(array.origin, ": '", array.name, "' has shape ", ShapeString(array.shape),
                     ", ", array.shape[0], " samples, but '", first.name, "' of ", first.origin,
                     " has ", first.shape[0], "; all arrays of a split have the same samples"));
  }
  if (static_cast<int64_t>(array.bytes.size()) / array.shape[0] <= kMaxSampleBytes)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(array.origin, ": '", array.name, "' has shape ",
                                                 ShapeString(array.shape),
                                                 ", more than 2 GiB a sample"));
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenTensors(const DatasetOptions& options) {
  DS_ASSIGN_OR_RETURN(Found found, FindArrays(options));
  DS_ASSIGN_OR_RETURN(std::optional<StoredArray> labels, TakeTarget(options, found));
  if (found.arrays.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        found.place, ": holds no .npy, .npz or .safetensors array for an input of the model"));
  }
  DatasetInfo info;
  info.kind = SampleKind::kTensors;
  for (const StoredArray& array : found.arrays) {
    DS_RETURN_IF_ERROR(CheckArray(array, found.arrays[0]));
    info.inputs.push_back({array.name, array.dtype, {array.shape.begin() + 1, array.shape.end()}});
  }
  const int64_t all = found.arrays[0].shape[0];
  std::optional<TargetArray> target;
  if (labels.has_value()) {
    DS_RETURN_IF_ERROR(CheckArray(*labels, found.arrays[0]));
    DS_ASSIGN_OR_RETURN(target, TargetArray::Create(*std::move(labels), options.ignored_label));
    info.target = target->info();
    info.classes = target->classes();
    if (std::string note = target->Note(); !note.empty()) info.notes.push_back(std::move(note));
  }
  std::vector<int64_t> rows;
  if (found.whole) {
    DS_ASSIGN_OR_RETURN(rows, RowsOfSplit(all, options, found.place));
  }
  info.size = LimitedSize(found.whole ? static_cast<int64_t>(rows.size()) : all, options.limit);
  return DatasetPtr(std::make_shared<TensorSet>(std::move(info), std::move(found.arrays),
                                                std::move(target), std::move(rows)));
}

}  // namespace ds
