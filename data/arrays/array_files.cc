#include "data/arrays/array_files.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "data/arrays/zip.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxInflated = int64_t{1} << 30;

absl::StatusOr<std::vector<StoredArray>> ReadTensorFile(const std::string& path) {
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ReadSafetensors(path));
  std::vector<StoredArray> arrays;
  for (const auto& [name, tensor] : tensors) {
    auto owner = std::make_shared<const Tensor>(tensor);
    arrays.push_back({name, path, tensor.dtype(), tensor.shape(), owner->bytes(), owner});
  }
  return arrays;
}

}  // namespace

bool IsArrayFile(absl::string_view path) {
  return absl::EndsWith(path, ".npy") || absl::EndsWith(path, ".npz") ||
         absl::EndsWith(path, ".safetensors");
}

absl::StatusOr<std::vector<StoredArray>> ReadArrayFile(const std::string& path) {
  if (!IsArrayFile(path)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": arrays are read from .npy, .npz and .safetensors"));
  }
  if (absl::EndsWith(path, ".safetensors")) return ReadTensorFile(path);
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  if (absl::EndsWith(path, ".npz")) return ParseNpz(file->bytes(), path, file, kMaxInflated);
  DS_ASSIGN_OR_RETURN(StoredArray array, ParseNpy(file->bytes(), path));
  array.name = fs::path(path).stem().string();
  array.owner = file;
  return std::vector<StoredArray>{std::move(array)};
}

absl::StatusOr<std::vector<StoredArray>> ReadArrayFolder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> files;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name[0] != '.' && IsArrayFile(name) && !it->is_directory(ignored))
      files.push_back(it->path().string());
  }
  if (error) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot list ", folder, ": ", error.message(), "; check its permissions"));
  }
  std::sort(files.begin(), files.end());
  std::vector<StoredArray> all;
  std::map<std::string, std::string> origins;
  for (const std::string& file : files) {
    DS_ASSIGN_OR_RETURN(std::vector<StoredArray> arrays, ReadArrayFile(file));
    for (StoredArray& array : arrays) {
      const auto [at, fresh] = origins.emplace(array.name, file);
      if (!fresh) {
        return absl::InvalidArgumentError(absl::StrCat("array '", array.name, "' is in ",
                                                       at->second, " and in ", file,
                                                       "; remove one of them"));
      }
      all.push_back(std::move(array));
    }
  }
  return all;
}

}  // namespace ds
