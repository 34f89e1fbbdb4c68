#include "jobs/data/data_setup.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status.h"
#include "data/sets/open_dataset.h"

namespace ds {
namespace {

using DatasetPtr = std::shared_ptr<const Dataset>;

std::string Describe(const ArrayInfo& array) {
  return absl::StrCat("'", array.name, "' of ", Name(array.dtype), " ", ShapeString(array.shape));
}

std::string Describe(const DatasetInfo& info) {
  if (info.kind != SampleKind::kTensors) {
    return absl::StrCat(ShapeString({info.channels, info.height, info.width}), " with ",
                        info.classes, " classes");
  }
  std::string text = absl::StrJoin(info.inputs, ", ", [](std::string* out, const ArrayInfo& array) {
    absl::StrAppend(out, Describe(array));
  });
  return absl::StrCat(text, info.target.has_value() ? ", labels " : ", no labels",
                      info.target.has_value() ? Describe(*info.target) : "");
}

absl::Status CheckSplits(const DatasetInfo& train, const DatasetInfo& test) {
  const bool tensors = train.kind == SampleKind::kTensors;
  if (Describe(train) != Describe(test)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "training and test data differ: ", Describe(train), " against ", Describe(test)));
  }
  if (!tensors || test.classes <= train.classes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the test data has class ", test.classes - 1, ", the training data's highest is ",
      train.classes - 1, "; a class that is not learned cannot be tested"));
}

std::string ChannelName(const DatasetInfo& info, size_t channel) {
  if (channel < info.channel_names.size())
    return absl::StrCat("column '", info.channel_names[channel], "'");
  return absl::StrCat("channel ", channel);
}

absl::Status FillInStatistics(const Dataset& train, LoaderOptions& data,
                              std::vector<std::string>& notes) {
  const DatasetInfo& info = train.info();
  const bool table = !info.channel_names.empty();
  if (info.kind != SampleKind::kImage && !table) return absl::OkStatus();
  constexpr int64_t kSamples = 10000;
  if (data.mean.empty() || data.stddev.empty()) {
    std::vector<float> mean, stddev;
    DS_RETURN_IF_ERROR(MeanAndStddev(train, kSamples, &mean, &stddev));
    if (data.mean.empty()) data.mean.assign(mean.begin(), mean.end());
    for (size_t c = 0; c < stddev.size() && data.stddev.empty(); ++c) {
      if (stddev[c] > 0) continue;
      notes.push_back(absl::StrCat("training data: ", ChannelName(info, c), " is ", mean[c],
                                   " everywhere, it tells nothing; it becomes 0, undivided"));
      stddev[c] = 1;
    }
    if (data.stddev.empty()) data.stddev.assign(stddev.begin(), stddev.end());
  }
  const size_t channels = static_cast<size_t>(info.channels);
  if (data.mean.size() == channels && data.stddev.size() == channels) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "data.mean has ", data.mean.size(), " and data.stddev ", data.stddev.size(), " entries, the ",
      table ? "table's inputs have " : "images have ", channels, table ? " columns" : " channels"));
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
  if (config.loss.ignore_index.has_value()) options.ignored_label = *config.loss.ignore_index;
  const bool for_classes = config.loss.name == "cross_entropy" || config.loss.name == "nll";
  if (options.target_type == "auto" && options.targets.size() == 1 && for_classes)
    options.target_type = "class";
  DS_ASSIGN_OR_RETURN(DatasetPtr whole, OpenDataset(options));
  return PartOfSite(std::move(whole), data.partition);
}

absl::StatusOr<DataSplits> OpenSplits(TrainConfig& config) {
  DataSplits splits;
  DS_ASSIGN_OR_RETURN(splits.train, OpenSplit(config, "train"));
  DS_ASSIGN_OR_RETURN(splits.test, OpenSplit(config, "test"));
  for (const auto* set : {splits.train.get(), splits.test.get()})
    splits.notes.insert(splits.notes.end(), set->info().notes.begin(), set->info().notes.end());
  DS_RETURN_IF_ERROR(CheckSplits(splits.train->info(), splits.test->info()));
  DS_RETURN_IF_ERROR(FillInStatistics(*splits.train, config.data.loader, splits.notes));
  return splits;
}

void SayNotes(const DataSplits& splits) {
  for (const std::string& note : splits.notes) Log(LogLevel::kWarning, note);
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
