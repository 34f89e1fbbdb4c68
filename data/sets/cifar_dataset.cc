// Finds the files of CIFAR-10 and CIFAR-100's binary versions and holds one split in memory.
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/sets/cifar.h"
#include "data/sets/openers.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxFileBytes = int64_t{1} << 30;

std::vector<std::string> FileNames(absl::string_view split, int classes) {
  if (classes == 100) return {split == "train" ? "train.bin" : "test.bin"};
  if (split == "test") return {"test_batch.bin"};
  std::vector<std::string> names;
  for (int i = 1; i <= 5; ++i) names.push_back(absl::StrCat("data_batch_", i, ".bin"));
  return names;
}

// The folder that holds all files of the split; NotFound with every file that was missed.
absl::StatusOr<fs::path> FindFolder(const DatasetOptions& options, int classes,
                                    const std::vector<std::string>& names) {
  const std::string own_folder = classes == 100 ? "cifar-100-binary" : "cifar-10-batches-bin";
  std::vector<std::string> tried;
  for (const std::string& place : Places(options)) {
    for (const fs::path& folder : {fs::path(place), fs::path(place) / own_folder}) {
      bool complete = true;
      for (const std::string& name : names) {
        std::error_code ignored;
        if (fs::is_regular_file(folder / name, ignored)) continue;
        tried.push_back((folder / name).string());
        complete = false;
        break;
      }
      if (complete) return folder;
    }
  }
  return MissingData(
      absl::StrCat("CIFAR-", classes, " (", options.split, " split)"), tried,
      absl::StrCat(
          "To get it: the University of Toronto's CIFAR page offers it; take the archive of the "
          "binary version (cifar-",
          classes,
          "-binary.tar.gz), unpack it in ./data, or name its folder as the data's "
          "path."));
}

// The class names beside the data, where there is one a class.
std::vector<std::string> ClassNames(const fs::path& folder, int classes) {
  std::ifstream file(folder / (classes == 100 ? "fine_label_names.txt" : "batches.meta.txt"));
  std::vector<std::string> names;
  for (std::string line; std::getline(file, line) && static_cast<int>(names.size()) <= classes;) {
    while (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (static_cast<int>(names.size()) != classes) names.clear();
  return names;
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenCifar(const DatasetOptions& options, int classes) {
  const std::vector<std::string> names = FileNames(options.split, classes);
  DS_ASSIGN_OR_RETURN(fs::path folder, FindFolder(options, classes, names));
  CifarRecords records;
  for (const std::string& name : names) {
    const std::string path = (folder / name).string();
    DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(path, kMaxFileBytes));
    DS_RETURN_IF_ERROR(ParseCifar(bytes, path, classes, &records));
  }
  DatasetInfo info;
  info.size = LimitedSize(records.labels.size(), options.limit);
  info.channels = 3;
  info.height = info.width = kCifarSide;
  info.classes = classes;
  info.class_names = ClassNames(folder, classes);
  return MakeInMemoryImages(std::move(info), std::move(records.pixels), std::move(records.labels));
}

}  // namespace ds
