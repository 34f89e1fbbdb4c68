#include "deploy/engine/runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "deploy/engine/runtime/pages.h"

namespace ds::engine {
namespace {

Status SystemError(const std::string& path, const char* what) {
  return Status::Error("'" + path + "': " + what + ": " + std::strerror(errno));
}

}  // namespace

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::Populate(uint64_t offset, uint64_t bytes) const {
  PopulatePages(data_ + offset, bytes, PageUse::kRead);
}

Status MappedFile::Open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return SystemError(path, "cannot be opened");
  struct stat info = {};
  Status status;
  if (::fstat(descriptor, &info) != 0) {
    status = SystemError(path, "cannot be looked at");
  } else if (!S_ISREG(info.st_mode) || info.st_size == 0) {
    status =
        Status::Error("'" + path + "' is no file, or empty; write one with ds_export --format dsm");
  } else {
    size_ = static_cast<size_t>(info.st_size);
    void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
      status = SystemError(path, "cannot be mapped");
    } else {
      data_ = static_cast<const std::byte*>(memory);
    }
  }
  ::close(descriptor);
  return status;
}

}  // namespace ds::engine
