// Has a file been replaced? For files that are only ever replaced as a whole (AtomicFile): looking
// costs one stat, and no more than one in kPause.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"

namespace ds::federated {

// Not thread-safe.
class FileWatch {
 public:
  static constexpr absl::Duration kPause = absl::Milliseconds(100);

  explicit FileWatch(std::string path) : path_(std::move(path)) {}

  // True at the first call, and once after each change; a file that is not there is one.
  bool Changed() {
    const absl::Duration now = SteadyTime();
    if (now - looked_ < kPause) return false;
    looked_ = now;
    struct stat info = {};
    Seen seen;
    if (::stat(path_.c_str(), &info) == 0) {
      seen = {static_cast<uint64_t>(info.st_ino), static_cast<int64_t>(info.st_size),
              static_cast<int64_t>(info.st_mtim.tv_sec),
              static_cast<int64_t>(info.st_mtim.tv_nsec)};
    }
    return std::exchange(seen_, seen) != seen;
  }
  const std::string& path() const { return path_; }

 private:
  struct Seen {
    uint64_t inode = 0;
    int64_t size = -1, seconds = 0, nanoseconds = -1;
    bool operator==(const Seen&) const = default;
  };

  const std::string path_;
  absl::Duration looked_ = -absl::InfiniteDuration();
  Seen seen_{.size = -2};  // as nothing is
};

}  // namespace ds::federated
