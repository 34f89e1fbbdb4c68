// A folder of pictures, <path>/<split>/<class>/*.{jpg,jpeg,png}, decoded on demand.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/dataset_digest.h"
#include "data/image/image_codec.h"
#include "data/image/image_resize.h"
#include "data/sets/openers.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxFileBytes = int64_t{256} << 20;
constexpr int64_t kMaxSide = 4096;  // of what the network sees
constexpr int64_t kDigestFiles = 256;
constexpr char kLayout[] =
    "expected <path>/train/<class>/*.jpg and <path>/test/<class>/*.jpg (jpg, jpeg or png; \"val\" "
    "does "
    "for \"test\"), one folder a class";

struct Picture {
  std::string path;
  int64_t label = 0;
};

class ImageFolder final : public Dataset {
 public:
  ImageFolder(DatasetInfo info, std::vector<Picture> pictures, int64_t resize_to)
      : info_(std::move(info)), pictures_(std::move(pictures)), resize_to_(resize_to) {}

  const DatasetInfo& info() const override { return info_; }

  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    const std::string& path = pictures_[index].path;
    DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(path, kMaxFileBytes));
    DecodeOptions options;
    options.channels = info_.channels;
    options.min_side = resize_to_;
    DS_ASSIGN_OR_RETURN(DecodedImage image, DecodeImage(bytes, path, options));
    *label = pictures_[index].label;
    if (resize_to_ > 0) {
      ResizeAndCrop(image, resize_to_, pixels);
      return absl::OkStatus();
    }
    if (image.height != info_.height || image.width != info_.width) {
      return absl::DataLossError(absl::StrCat(path, ": the picture is ", image.height, " x ",
                                              image.width, " now, but was ", info_.height, " x ",
                                              info_.width, " when the data set was opened"));
    }
    ToPlanes(image, pixels);
    return absl::OkStatus();
  }

  absl::Status ReadText(int64_t, absl::Span<int64_t>) const override {
    return WrongKind(SampleKind::kText);
  }

  // Where the folder lies may differ; what is in it may not.
  absl::StatusOr<DatasetDigest> Digest() const override {
    DataChecksum checksum;
    for (const Picture& picture : pictures_) {
      checksum.Add(fs::path(picture.path).filename().string());
      checksum.Add(picture.label);
    }
    for (const std::string& name : info_.class_names) checksum.Add(name);
    const std::vector<int64_t> files = EvenlySpread(info_.size, kDigestFiles);
    for (const int64_t index : files) {
      DS_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes,
                          ReadFileBytes(pictures_[index].path, kMaxFileBytes));
      checksum.Add(bytes);
      checksum.Add(static_cast<int64_t>(bytes.size()));
    }
    return DatasetDigest{checksum.Text(), absl::StrCat("all names, and the bytes of ", files.size(),
                                                       " of ", info_.size, " files")};
  }

 private:
  DatasetInfo info_;
  std::vector<Picture> pictures_;
  int64_t resize_to_;
};

bool IsPicture(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

// Names in `folder`, sorted by their bytes, hidden ones left out: folders, or pictures.
absl::StatusOr<std::vector<std::string>> List(const fs::path& folder, bool folders) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name[0] == '.' || it->is_directory(ignored) != folders) continue;
    if (folders || IsPicture(it->path())) names.push_back(name);
  }
  if (error) {
    return absl::PermissionDeniedError(absl::StrCat("cannot list ", folder.string(), ": ",
                                                    error.message(), "; check its permissions"));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The folder of a split below one of the usual places.
absl::StatusOr<fs::path> FindSplit(const DatasetOptions& options) {
  std::vector<std::string> names = {options.split};
  if (options.split == "test") names.push_back("val");
  std::vector<std::string> tried;
  for (const std::string& place : Places(options)) {
    for (const std::string& name : names) {
      const fs::path folder = fs::path(place) / name;
      std::error_code ignored;
      if (fs::is_directory(folder, ignored)) return folder;
      tried.push_back(folder.string());
    }
  }
  return MissingData(absl::StrCat("image folder (", options.split, " split)"), tried,
                     absl::StrCat("Layout: ", kLayout, "."));
}

// The classes are the training folder's, also for the test split, so that their numbers agree.
absl::StatusOr<std::vector<std::string>> FindClasses(const fs::path& split_folder) {
  DS_ASSIGN_OR_RETURN(std::vector<std::string> own, List(split_folder, /*folders=*/true));
  const fs::path train = split_folder.parent_path() / "train";
  std::vector<std::string> classes = own;
  std::error_code ignored;
  if (fs::is_directory(train, ignored)) {
    DS_ASSIGN_OR_RETURN(classes, List(train, /*folders=*/true));
  }
  for (const std::string& name : own) {
    if (!std::binary_search(classes.begin(), classes.end(), name)) {
      return absl::InvalidArgumentError(absl::StrCat((split_folder / name).string(), ": class \"",
                                                     name, "\" has no folder in ", train.string(),
                                                     "; add it or remove this one"));
    }
  }
  if (classes.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(split_folder.string(), ": holds no class folders; ", kLayout));
  }
  return classes;
}

// All pictures, the classes taking turns, so that the first n samples are a fair choice.
absl::StatusOr<std::vector<Picture>> FindPictures(const fs::path& split_folder,
                                                  const std::vector<std::string>& classes) {
  std::vector<std::vector<Picture>> by_class(classes.size());
  size_t longest = 0;
  for (size_t label = 0; label < classes.size(); ++label) {
    const fs::path folder = split_folder / classes[label];
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored)) continue;  // a class may be absent from the test split
    DS_ASSIGN_OR_RETURN(std::vector<std::string> names, List(folder, /*folders=*/false));
    if (names.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          folder.string(), ": the class folder holds no jpg, jpeg or png file; ", kLayout));
    }
    for (const std::string& name : names) {
      by_class[label].push_back({(folder / name).string(), static_cast<int64_t>(label)});
    }
    longest = std::max(longest, names.size());
  }
  std::vector<Picture> pictures;
  for (size_t turn = 0; turn < longest; ++turn) {
    for (auto& list : by_class) {
      if (turn < list.size()) pictures.push_back(std::move(list[turn]));
    }
  }
  if (pictures.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(split_folder.string(), ": holds no pictures; ", kLayout));
  }
  return pictures;
}

// The one size of all pictures, from their headers; refuses mixed sizes.
absl::StatusOr<ImageSize> CommonSize(const std::vector<Picture>& pictures) {
  ImageSize common;
  for (const Picture& picture : pictures) {
    DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(picture.path, kMaxFileBytes));
    DS_ASSIGN_OR_RETURN(ImageSize size, ReadImageSize(bytes, picture.path));
    if (common.height == 0) common = size;
    if (size.height != common.height || size.width != common.width) {
      return absl::InvalidArgumentError(
          absl::StrCat(picture.path, ": ", size.height, " x ", size.width, " pixels, but ",
                       pictures[0].path, " has ", common.height, " x ", common.width,
                       "; set image_size to bring all pictures to one size"));
    }
  }
  return common;
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenImageFolder(const DatasetOptions& options) {
  if (options.channels != 1 && options.channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat("image folder: channels ", options.channels,
                                                   " is neither 1 (gray) nor 3 (RGB)"));
  }
  if (options.image_size < 0 || options.image_size > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat("image folder: image_size ", options.image_size, " is not in 0..", kMaxSide));
  }
  DS_ASSIGN_OR_RETURN(fs::path folder, FindSplit(options));
  DatasetInfo info;
  DS_ASSIGN_OR_RETURN(info.class_names, FindClasses(folder));
  DS_ASSIGN_OR_RETURN(std::vector<Picture> pictures, FindPictures(folder, info.class_names));
  info.size = LimitedSize(pictures.size(), options.limit);
  pictures.resize(info.size);
  info.channels = options.channels;
  info.height = info.width = options.image_size;
  info.classes = info.class_names.size();
  if (options.image_size == 0) {
    DS_ASSIGN_OR_RETURN(ImageSize size, CommonSize(pictures));
    info.height = size.height;
    info.width = size.width;
  }
  return DatasetPtr(
      std::make_shared<ImageFolder>(std::move(info), std::move(pictures), options.image_size));
}

}  // namespace ds
