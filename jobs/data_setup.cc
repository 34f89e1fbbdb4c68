#include "jobs/data_setup.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/sets/open_dataset.h"

namespace ds {
namespace {

using DatasetPtr = std::shared_ptr<const Dataset>;

absl::Status CheckSplits(const DatasetInfo& train, const DatasetInfo& test) {
  if (train.channels == test.channels && train.height == test.height && train.width == test.width &&
      train.classes == test.classes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "training and test data differ: ", ShapeString({train.channels, train.height, train.width}),
      " with ", train.classes, " classes against ",
      ShapeString({test.channels, test.height, test.width}), " with ", test.classes));
}

absl::Status FillInStatistics(const Dataset& train, LoaderOptions& data) {
  if (train.info().kind != SampleKind::kImage) return absl::OkStatus();
  constexpr int64_t kSamples = 10000;
  if (data.mean.empty() || data.stddev.empty()) {
    std::vector<float> mean, stddev;
    DS_RETURN_IF_ERROR(MeanAndStddev(train, kSamples, &mean, &stddev));
    if (data.mean.empty()) data.mean.assign(mean.begin(), mean.end());
    if (data.stddev.empty()) data.stddev.assign(stddev.begin(), stddev.end());
  }
  const size_t channels = static_cast<size_t>(train.info().channels);
  if (data.mean.size() == channels && data.stddev.size() == channels) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data.mean has ", data.mean.size(), " and data.stddev ", data.stddev.size(),
                   " entries, the images have ", channels, " channels"));
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenSplit(const TrainConfig& config, const std::string& split) {
  const DataConfig& data = config.data;
  const bool train = split == "train";
  DatasetOptions options = data.set;
  options.split = split;
  options.limit = train ? data.train_limit : data.test_limit;
  if (!train) options.size = std::max<int64_t>(1, options.size / 5);
  options.seed = config.run.seed;
  DS_ASSIGN_OR_RETURN(DatasetPtr whole, OpenDataset(options));
  return PartOfSite(std::move(whole), data.partition);
}

absl::StatusOr<DataSplits> OpenSplits(TrainConfig& config) {
  DataSplits splits;
  DS_ASSIGN_OR_RETURN(splits.train, OpenSplit(config, "train"));
  DS_ASSIGN_OR_RETURN(splits.test, OpenSplit(config, "test"));
  DS_RETURN_IF_ERROR(CheckSplits(splits.train->info(), splits.test->info()));
  DS_RETURN_IF_ERROR(FillInStatistics(*splits.train, config.data.loader));
  return splits;
}

absl::StatusOr<std::unique_ptr<DataLoader>> MakeLoader(const TrainConfig& config,
                                                       DatasetPtr dataset, DataUse use, int rank,
                                                       int world_size) {
  const bool train = use == DataUse::kTrain;
  LoaderOptions options = config.data.loader;
  options.rank = rank;
  options.world_size = world_size;
  options.shuffle = use != DataUse::kTest;
  options.seed = config.run.seed;
  if (!train) {
    options.batch_size = config.data.test_batch_size;
    options.drop_last = false;
    options.augment = {};
  }
  DS_ASSIGN_OR_RETURN(std::unique_ptr<DataLoader> loader,
                      DataLoader::Create(std::move(dataset), options));
  if (loader->batches_per_epoch() > 0) return loader;
  return absl::InvalidArgumentError(
      absl::StrCat("data.batch_size ", options.batch_size, " on ", options.world_size,
                   " ranks is more than the ", loader->info().size,
                   " training samples; lower it, or set data.drop_last=false"));
}

}  // namespace ds
