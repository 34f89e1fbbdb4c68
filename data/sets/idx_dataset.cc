// Finds the four files of MNIST and its look-alikes and holds one split in memory.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "data/sets/idx.h"
#include "data/sets/label_count.h"
#include "data/sets/openers.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxFileBytes = int64_t{4} << 30;
constexpr char kAdvice[] =
    "To get it: Fashion-MNIST is Debian's package dataset-fashion-mnist (apt-get install "
    "dataset-fashion-mnist); MNIST comes as four files of the same names from its authors. Put "
    "them in a "
    "folder and name it as the data's path.";

// The names a file may have: "train-images-idx3-ubyte", with content "images" and 3 dims, and
// variants.
std::vector<std::string> FileNames(absl::string_view split, absl::string_view content, int dims) {
  std::vector<std::string> names;
  for (const char* separator : {"-", "."}) {  // some tools unpack to "train-images.idx3-ubyte"
    const std::string name = absl::StrCat(split == "train" ? "train" : "t10k", "-", content,
                                          separator, "idx", dims, "-ubyte");
    names.push_back(name);
    names.push_back(name + ".gz");
  }
  return names;
}

// The first of `names` that lies in `folder`, or nothing.
std::string FindIn(const std::string& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    std::error_code ignored;
    const fs::path path = fs::path(folder) / name;
    if (fs::is_regular_file(path, ignored)) return path.string();
  }
  return "";
}

struct FilePair {
  std::string images, labels;
};

absl::StatusOr<FilePair> FindFiles(const DatasetOptions& options) {
  const std::vector<std::string> image_names = FileNames(options.split, "images", 3);
  const std::vector<std::string> label_names = FileNames(options.split, "labels", 1);
  std::vector<std::string> tried;
  for (const std::string& folder : Places(options)) {
    FilePair pair{FindIn(folder, image_names), FindIn(folder, label_names)};
    if (!pair.images.empty() && !pair.labels.empty()) return pair;
    const auto& missing = pair.images.empty() ? image_names : label_names;
    tried.push_back(absl::StrCat((fs::path(folder) / missing[0]).string(), "[.gz]"));
  }
  return MissingData(absl::StrCat("IDX data (", options.split, " split)"), tried, kAdvice);
}

absl::StatusOr<std::vector<uint8_t>> ReadLabels(const std::string& path) {
  DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(path, kMaxFileBytes));
  return ParseIdxLabels(bytes, path);
}

LabelCount Count(absl::Span<const uint8_t> labels, int64_t ignored) {
  LabelCount count;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != ignored) count.Add(labels[i], static_cast<int64_t>(i));
  }
  return count;
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenIdx(const DatasetOptions& options) {
  DS_ASSIGN_OR_RETURN(FilePair files, FindFiles(options));
  DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(files.images, kMaxFileBytes));
  DS_ASSIGN_OR_RETURN(IdxImages images, ParseIdxImages(bytes, files.images));
  DS_ASSIGN_OR_RETURN(std::vector<uint8_t> labels, ReadLabels(files.labels));
  if (static_cast<int64_t>(labels.size()) != images.count) {
    return absl::DataLossError(absl::StrCat(files.labels, ": byte 4: ", labels.size(),
                                            " labels for the ", images.count, " images of ",
                                            files.images, "; get the two files of one data set"));
  }
  if (images.count == 0) {
    return absl::DataLossError(
        absl::StrCat(files.images, ": byte 4: the file holds no images; get it again"));
  }
  DatasetInfo info;
  info.size = LimitedSize(images.count, options.limit);
  info.channels = 1;
  info.height = images.height;
  info.width = images.width;
  info.ignored_label = options.ignored_label;
  const LabelCount count = Count(labels, options.ignored_label);
  info.classes = count.classes();
  if (std::string note = count.Note(files.labels); !note.empty())
    info.notes.push_back(std::move(note));
  if (options.split == "test") {
    // A test split may lack the highest class: the training labels, where they are, have the say.
    const std::string folder = fs::path(files.labels).parent_path().string();
    const std::string train = FindIn(folder, FileNames("train", "labels", 1));
    if (!train.empty()) {
      DS_ASSIGN_OR_RETURN(std::vector<uint8_t> train_labels, ReadLabels(train));
      info.classes = std::max(info.classes, Count(train_labels, options.ignored_label).classes());
    }
  }
  return MakeInMemoryImages(std::move(info), std::move(images.pixels), std::move(labels));
}

}  // namespace ds
