#include "graph/onnx/external_data.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/tensor/untouched.h"

namespace ds::onnx_io {
namespace {

constexpr uintptr_t kTensorAlignment = 64;  // bytes
constexpr int64_t kUnread = 65536;          // bytes; smaller tensors take part in folding

// "" where the path does not exist.
std::string RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) == nullptr ? "" : std::string(resolved);
}

bool IsPlainRelative(const std::string& location) {
  if (location.empty() || location[0] == '/' || location.find('\0') != std::string::npos)
    return false;
  const std::vector<std::string> parts = absl::StrSplit(location, '/');
  for (const std::string& part : parts) {
    if (part == "..") return false;
  }
  return true;
}

bool IsInside(const std::string& path, const std::string& folder) {
  return absl::StartsWith(path, folder == "/" ? folder : absl::StrCat(folder, "/"));
}

// Real paths. `folder` lies in REPOSITORY/snapshots/REVISION, `file` is one of REPOSITORY/blobs.
bool IsBlobOfSnapshot(const std::string& file, const std::string& folder) {
  constexpr char kSnapshots[] = "/snapshots/";
  const size_t snapshots = folder.rfind(kSnapshots);
  if (snapshots == std::string::npos || snapshots == 0) return false;
  if (folder.size() == snapshots + sizeof(kSnapshots) - 1) return false;
  const std::string blobs = absl::StrCat(folder.substr(0, snapshots), "/blobs/");
  return absl::StartsWith(file, blobs) && file.find('/', blobs.size()) == std::string::npos;
}

}  // namespace

struct ExternalData::File {
  std::byte* bytes = nullptr;
  int64_t size = 0;
  int64_t copied = 0;  // bytes handed out as copies so far

  ~File() {
    if (bytes != nullptr) ::munmap(bytes, static_cast<size_t>(size));
  }
};

absl::StatusOr<std::shared_ptr<ExternalData::File>> ExternalData::Open(
    const std::string& location) {
  if (auto it = files_.find(location); it != files_.end()) return it->second;
  if (folder_.empty()) {
    return absl::InvalidArgumentError(
        "its data is in another file, but the model was given as bytes without a folder; import it "
        "from "
        "its file or embed the data");
  }
  if (!IsPlainRelative(location)) {
    return absl::InvalidArgumentError(
        absl::StrCat("its data file \"", location,
                     "\" is not a plain path inside the model's folder; absolute paths "
                     "and \"..\" are refused: put the file beside the model"));
  }
  const std::string wanted = absl::StrCat(folder_, "/", location);
  const std::string folder = RealPath(folder_);
  const std::string resolved = RealPath(wanted);
  if (folder.empty() || resolved.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "its data file ", wanted, " does not exist; it must be kept together with the model"));
  }
  if (!IsInside(resolved, folder) && !IsBlobOfSnapshot(resolved, folder)) {
    return absl::InvalidArgumentError(absl::StrCat("its data file ", wanted, " is a link to ",
                                                   resolved,
                                                   ", outside the model's folder; copy it there"));
  }
  // O_NOFOLLOW: a link put there after the check is not followed. O_NONBLOCK: a FIFO does not hang
  // us.
  const int fd = ::open(resolved.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    return absl::NotFoundError(
        absl::StrCat("its data file ", wanted, " cannot be opened: ", std::strerror(errno)));
  }
  struct stat info;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return absl::InvalidArgumentError(
        absl::StrCat("its data file ", wanted, " is not a regular file"));
  }
  auto file = std::make_shared<File>();
  file->size = info.st_size;
  void* mapped = file->size == 0 ? nullptr
                                 : ::mmap(nullptr, static_cast<size_t>(file->size),
                                          PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (mapped == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("its data file ", wanted, " cannot be mapped: ", std::strerror(errno)));
  }
  file->bytes = static_cast<std::byte*>(mapped);
  files_[location] = file;
  return file;
}

absl::StatusOr<Tensor> ExternalData::Read(const ExternalRange& range, DType dtype,
                                          const Shape& shape) {
  DS_ASSIGN_OR_RETURN(std::shared_ptr<File> file, Open(range.location));
  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  const int64_t needed = ByteSize(dtype, count);
  if (range.length >= 0 && range.length != needed) {
    return absl::InvalidArgumentError(
        absl::StrCat("its shape ", ShapeString(shape), " needs ", needed,
                     " bytes, but its external data has length ", range.length));
  }
  if (range.offset < 0 || range.offset > file->size || needed > file->size - range.offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("bytes ", range.offset, " + ", needed, " lie outside its data file ",
                     range.location, " of ", file->size, " bytes; is the file complete?"));
  }
  std::byte* bytes = file->bytes + range.offset;
  if (needed > 0 && reinterpret_cast<uintptr_t>(bytes) % kTensorAlignment == 0) {
    return Tensor::Wrap(dtype, shape, bytes, file);
  }
  // Tensors do not overlap in an honest file: together they are no larger than it. Else a small
  // file could be made to fill the memory.
  if (needed > file->size - file->copied) {
    return absl::InvalidArgumentError(absl::StrCat("the tensors in its data file ", range.location,
                                                   " overlap; write the model again"));
  }
  file->copied += needed;
  if (!copy_ && needed > kUnread) return UntouchedTensor(dtype, shape);
  DS_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Create(dtype, shape));
  if (needed > 0) std::memcpy(tensor.mutable_data(), bytes, static_cast<size_t>(needed));
  return tensor;
}

}  // namespace ds::onnx_io
