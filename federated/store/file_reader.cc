#include "federated/store/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/file/descriptor.h"
#include "base/file/file_system.h"

namespace ds::federated {
namespace {

class FileReader final : public BlobReader {
 public:
  FileReader(int fd, std::string path) : file_(fd), path_(std::move(path)) {}

  absl::Status Measure() {
    struct stat info;
    if (::fstat(file_.get(), &info) != 0)
      return ErrnoStatus(errno, absl::StrCat("cannot look at ", path_));
    size_ = info.st_size;
    return absl::OkStatus();
  }

  int64_t size() const override { return size_; }

  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    if (offset < 0 || offset > size_ || static_cast<int64_t>(out.size()) > size_ - offset)
      return absl::OutOfRangeError(absl::StrCat("bytes ", offset, " to ", offset + out.size(),
                                                " of ", path_, ", which has ", size_));
    while (!out.empty()) {
      const ssize_t count = ::pread(file_.get(), out.data(), out.size(), offset);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path_));
      if (count == 0)
        return absl::DataLossError(absl::StrCat(path_, " was cut to ", offset, " bytes"));
      out.remove_prefix(static_cast<size_t>(count));
      offset += count;
    }
    return absl::OkStatus();
  }

 private:
  const Descriptor file_;
  const std::string path_;
  int64_t size_ = 0;
};

}  // namespace

absl::StatusOr<std::shared_ptr<BlobReader>> OpenFileReader(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  auto reader = std::make_shared<FileReader>(fd, path);
  if (const absl::Status status = reader->Measure(); !status.ok()) return status;
  return reader;
}

}  // namespace ds::federated
