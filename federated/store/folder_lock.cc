#include "federated/store/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/file/file_system.h"

namespace ds::federated {

absl::StatusOr<std::unique_ptr<FolderLock>> FolderLock::Take(const std::string& folder) {
  // Not through the seam: nothing of it need last.
  const std::string path = absl::StrCat(folder, "/LOCK");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  std::unique_ptr<FolderLock> lock(new FolderLock(fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("cannot lock ", path));
    const auto holder = ReadFile(path);
    return absl::FailedPreconditionError(
        absl::StrCat(folder, " is in use by ",
                     holder.ok() && !holder->empty() ? absl::StripTrailingAsciiWhitespace(*holder)
                                                     : absl::string_view("another process"),
                     "; end it first, or use another folder"));
  }
  const std::string holder = absl::StrCat("process ", ::getpid(), "\n");
  if (::ftruncate(fd, 0) != 0 ||
      ::pwrite(fd, holder.data(), holder.size(), 0) != static_cast<ssize_t>(holder.size()))
    return ErrnoStatus(errno, absl::StrCat("cannot write ", path));
  return lock;
}

}  // namespace ds::federated
