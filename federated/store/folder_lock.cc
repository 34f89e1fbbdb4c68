#include "federated/store/folder_lock.h"

#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"

namespace ds::federated {

absl::StatusOr<std::unique_ptr<FileLock>> LockStore(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/LOCK");
  DS_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, FileLock::TryTake(path, 0644));
  if (lock == nullptr) {
    const auto holder = ReadFile(path);
    return absl::FailedPreconditionError(
        absl::StrCat(folder, " is in use by ",
                     holder.ok() && !holder->empty() ? absl::StripTrailingAsciiWhitespace(*holder)
                                                     : absl::string_view("another process"),
                     "; end it first, or use another folder"));
  }
  DS_RETURN_IF_ERROR(lock->Write(absl::StrCat("process ", ::getpid(), "\n")));
  return lock;
}

}  // namespace ds::federated
