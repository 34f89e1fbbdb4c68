#include "base/file/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/file/file_system.h"

namespace ds {

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::TryTake(const std::string& path, int mode) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  std::unique_ptr<FileLock> lock(new FileLock(path, fd));
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return nullptr;
    if (errno != EINTR) return ErrnoStatus(errno, absl::StrCat("cannot lock ", path));
  }
  return lock;
}

absl::Status FileLock::Write(absl::string_view text) {
  if (::ftruncate(file_.get(), 0) != 0 ||
      ::pwrite(file_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return ErrnoStatus(errno, absl::StrCat("cannot write ", path_));
  return absl::OkStatus();
}

}  // namespace ds
