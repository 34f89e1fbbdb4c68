// A folder of pictures, <path>/<split>/<class>/**/*.{jpg,jpeg,png,webp}, decoded on demand; without
// <split> they are dealt to both.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "data/dataset_digest.h"
#include "data/image/exif.h"
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
    "expected <path>/train/<class>/*.jpg and <path>/test/<class>/*.jpg (jpg, jpeg, png or webp, "
    "also in folders below; \"val\" does for \"test\"), one folder a class; or the classes' "
    "folders in <path> itself, of which data.validation's share is the test split";
constexpr int kMaxDepth = 32;  // of folders below a class
constexpr int64_t kExifFiles = 64;

struct Picture {
  std::string path;
  int64_t label = 0;
};

class ImageFolder final : public Dataset {
 public:
  ImageFolder(DatasetInfo info, std::vector<Picture> pictures, const DatasetOptions& options)
      : info_(std::move(info)),
        pictures_(std::move(pictures)),
        resize_to_(options.image_size),
        upright_(options.exif == "apply") {}

  const DatasetInfo& info() const override { return info_; }

  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    const std::string& path = pictures_[index].path;
    DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(path, kMaxFileBytes));
    DecodeOptions options;
    options.channels = info_.channels;
    options.min_side = resize_to_;
    DS_ASSIGN_OR_RETURN(DecodedImage image, DecodeImage(bytes, path, options));
    if (upright_) image = Upright(std::move(image), ExifOrientation(bytes));
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

  absl::Status ReadCrop(int64_t index, BoxChooser choose, absl::Span<uint8_t> pixels,
                        int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    const std::string& path = pictures_[index].path;
    DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(path, kMaxFileBytes));
    DecodeOptions options;
    options.channels = info_.channels;
    *label = pictures_[index].label;
    const int orientation = upright_ ? ExifOrientation(bytes) : 1;
    CroppedImage part;
    if (orientation == 1) {
      DS_ASSIGN_OR_RETURN(part,
                          DecodeCrop(bytes, path, options, choose, info_.height, info_.width));
    } else {
      DS_ASSIGN_OR_RETURN(DecodedImage whole, DecodeImage(bytes, path, options));
      part.image = Upright(std::move(whole), orientation);
      part.box = internal::ToRealBox(choose(part.image.height, part.image.width));
    }
    ResizeBox(part.image, part.box, info_.height, info_.width, pixels);
    return absl::OkStatus();
  }

  absl::Status ReadText(int64_t, absl::Span<int64_t>) const override {
    return WrongKind(info_.kind, SampleKind::kText);
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
  bool upright_;
};

bool IsPicture(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

// What a listing left out, by its ending.
using Skipped = std::map<std::string, int64_t>;

absl::Status CannotList(const fs::path& folder, const std::error_code& error) {
  return absl::PermissionDeniedError(absl::StrCat("cannot list ", folder.string(), ": ",
                                                  error.message(), "; check its permissions"));
}

// The pictures in `folder` and below it, as paths sorted by their bytes; hidden ones left out.
absl::StatusOr<std::vector<std::string>> ListPictures(const fs::path& folder, Skipped& skipped) {
  std::error_code error;
  std::vector<std::string> paths;
  fs::recursive_directory_iterator it(folder, fs::directory_options::follow_directory_symlink,
                                      error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const bool hidden = it->path().filename().string()[0] == '.';
    if (it->is_directory(ignored)) {
      if (hidden) it.disable_recursion_pending();
      if (it.depth() >= kMaxDepth) {
        return absl::InvalidArgumentError(
            absl::StrCat(it->path().string(), ": more than ", kMaxDepth,
                         " folders below each other; look for a link to a folder above"));
      }
    } else if (IsPicture(it->path())) {
      if (!hidden) paths.push_back(it->path().string());
    } else if (!hidden) {
      ++skipped[it->path().extension().string()];
    }
  }
  if (error) return CannotList(folder, error);
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Folders in `folder`, sorted by their bytes, hidden ones left out.
absl::StatusOr<std::vector<std::string>> ListFolders(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name[0] == '.' || !it->is_directory(ignored)) continue;
    names.push_back(name);
  }
  if (error) return CannotList(folder, error);
  std::sort(names.begin(), names.end());
  return names;
}

// Where a split's classes lie.
struct SplitFolder {
  fs::path path;
  bool dealt = false;  // to both splits
};

// Class folders without a split's folder above them. A name that somebody may have meant for a
// split is no class.
bool HoldsClassesItself(const fs::path& place) {
  const absl::StatusOr<std::vector<std::string>> folders = ListFolders(place);
  if (!folders.ok() || folders->empty()) return false;
  return std::none_of(folders->begin(), folders->end(), [](const std::string& name) {
    const std::string lower = absl::AsciiStrToLower(name);
    return lower == "val" || absl::StartsWith(lower, "train") || absl::StartsWith(lower, "test") ||
           absl::StartsWith(lower, "valid");
  });
}

// The folder of a split below one of the usual places.
absl::StatusOr<SplitFolder> FindSplit(const DatasetOptions& options) {
  std::vector<std::string> names = {options.split};
  if (options.split == "test") names.push_back("val");
  std::vector<std::string> tried;
  for (const std::string& place : Places(options)) {
    for (const std::string& name : names) {
      const fs::path folder = fs::path(place) / name;
      std::error_code ignored;
      if (fs::is_directory(folder, ignored)) return SplitFolder{folder};
      tried.push_back(folder.string());
    }
    if (HoldsClassesItself(place)) return SplitFolder{place, /*dealt=*/true};
  }
  return MissingData(absl::StrCat("image folder (", options.split, " split)"), tried,
                     absl::StrCat("Layout: ", kLayout, "."));
}

// The classes are the training folder's, also for the test split, so that their numbers agree.
absl::StatusOr<std::vector<std::string>> FindClasses(const SplitFolder& split) {
  const fs::path& split_folder = split.path;
  DS_ASSIGN_OR_RETURN(std::vector<std::string> own, ListFolders(split_folder));
  if (split.dealt) return own;
  const fs::path train = split_folder.parent_path() / "train";
  std::vector<std::string> classes = own;
  std::error_code ignored;
  if (fs::is_directory(train, ignored)) {
    DS_ASSIGN_OR_RETURN(classes, ListFolders(train));
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
                                                  const std::vector<std::string>& classes,
                                                  Skipped& skipped) {
  std::vector<std::vector<Picture>> by_class(classes.size());
  size_t longest = 0;
  std::error_code ignored;
  for (size_t label = 0; label < classes.size(); ++label) {
    const fs::path folder = split_folder / classes[label];
    if (!fs::is_directory(folder, ignored)) continue;  // a class may be absent from the test split
    DS_ASSIGN_OR_RETURN(const std::vector<std::string> paths, ListPictures(folder, skipped));
    if (paths.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          folder.string(), ": the class folder holds no jpg, jpeg, png or webp file; ", kLayout));
    }
    for (const std::string& path : paths)
      by_class[label].push_back({path, static_cast<int64_t>(label)});
    longest = std::max(longest, paths.size());
  }
  for (fs::directory_iterator it(split_folder, ignored), end; it != end; it.increment(ignored)) {
    const bool file = !it->is_directory(ignored);
    if (file && it->path().filename().string()[0] != '.') ++skipped["loose"];
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

// Of all pictures those of options.split.
absl::Status KeepSplit(const DatasetOptions& options, const fs::path& folder,
                       std::vector<Picture>& pictures) {
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> rows,
                      RowsOfSplit(static_cast<int64_t>(pictures.size()), options, folder.string()));
  std::vector<Picture> kept;
  for (const int64_t row : rows) kept.push_back(std::move(pictures[static_cast<size_t>(row)]));
  pictures = std::move(kept);
  return absl::OkStatus();
}

// The one size of all pictures, from their headers; refuses mixed sizes.
absl::StatusOr<ImageSize> CommonSize(const std::vector<Picture>& pictures, bool upright) {
  ImageSize common;
  for (const Picture& picture : pictures) {
    DS_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadFileBytes(picture.path, kMaxFileBytes));
    DS_ASSIGN_OR_RETURN(ImageSize size, ReadImageSize(bytes, picture.path));
    if (upright && ExifOrientation(bytes) >= 5) std::swap(size.height, size.width);
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

std::string SkippedNote(const fs::path& folder, const Skipped& skipped) {
  int64_t files = 0;
  for (const auto& [ending, count] : skipped) files += count;
  return absl::StrCat(
      folder.string(), ": ", files, " files are left out: no jpg, jpeg, png or webp of a class (",
      absl::StrJoin(skipped, ", ",
                    [](std::string* out, const auto& entry) {
                      absl::StrAppend(out, entry.second, " ",
                                      entry.first.empty() ? "without ending" : entry.first);
                    }),
      ")");
}

// Of some pictures, evenly spread: all would take as long as an epoch.
std::string ExifNote(const std::vector<Picture>& pictures) {
  const std::vector<int64_t> looked_at =
      EvenlySpread(static_cast<int64_t>(pictures.size()), kExifFiles);
  int64_t turned = 0;
  for (const int64_t index : looked_at) {
    const auto bytes = ReadFileBytes(pictures[static_cast<size_t>(index)].path, kMaxFileBytes);
    turned += bytes.ok() && ExifOrientation(*bytes) != 1;
  }
  if (turned == 0) return "";
  return absl::StrCat(turned, " of ", looked_at.size(),
                      " pictures that were looked at carry an EXIF orientation, which is ignored; "
                      "data.exif=apply turns them upright");
}

absl::Status CheckOptions(const DatasetOptions& options) {
  if (options.channels != 1 && options.channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat("image folder: channels ", options.channels,
                                                   " is neither 1 (gray) nor 3 (RGB)"));
  }
  if (options.image_size < 0 || options.image_size > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat("image folder: image_size ", options.image_size, " is not in 0..", kMaxSide));
  }
  if (options.exif == "ignore" || options.exif == "apply") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("image folder: exif \"", options.exif, "\" is neither ignore nor apply"));
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenImageFolder(const DatasetOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  DS_ASSIGN_OR_RETURN(const SplitFolder split, FindSplit(options));
  const fs::path& folder = split.path;
  DatasetInfo info;
  DS_ASSIGN_OR_RETURN(info.class_names, FindClasses(split));
  Skipped skipped;
  DS_ASSIGN_OR_RETURN(std::vector<Picture> pictures,
                      FindPictures(folder, info.class_names, skipped));
  if (!skipped.empty()) info.notes.push_back(SkippedNote(folder, skipped));
  if (split.dealt) DS_RETURN_IF_ERROR(KeepSplit(options, folder, pictures));
  info.size = LimitedSize(pictures.size(), options.limit);
  pictures.resize(info.size);
  info.channels = options.channels;
  info.height = info.width = options.image_size;
  info.classes = info.class_names.size();
  if (options.image_size == 0) {
    DS_ASSIGN_OR_RETURN(ImageSize size, CommonSize(pictures, options.exif == "apply"));
    info.height = size.height;
    info.width = size.width;
  }
  if (options.exif == "ignore") {
    const std::string note = ExifNote(pictures);
    if (!note.empty()) info.notes.push_back(absl::StrCat(folder.string(), ": ", note));
  }
  return DatasetPtr(std::make_shared<ImageFolder>(std::move(info), std::move(pictures), options));
}

}  // namespace ds
