#include "federated/pki/authority/folder_lock.h"

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"

namespace ds::federated {

absl::StatusOr<std::unique_ptr<FileLock>> LockAuthority(const std::string& folder,
                                                        absl::Duration patience) {
  const std::string path = absl::StrCat(folder, "/lock");
  const Deadline deadline = Deadline::In(patience);
  while (true) {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, FileLock::TryTake(path, 0600));
    if (lock != nullptr) return lock;
    if (deadline.IsPast()) {
      return absl::UnavailableError(absl::StrCat(folder, " is in use by another process (", path,
                                                 " is locked): try again later"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace ds::federated
