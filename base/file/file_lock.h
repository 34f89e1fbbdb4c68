// A file that one process at a time holds (flock): let go by the system when the holder ends,
// however it ends. Not through FileSystem: nothing of it need last.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/file/descriptor.h"

namespace ds {

// Held while it lives.
class FileLock {
 public:
  // Makes the file where it is not there, with permissions `mode`; does not wait. Null: another
  // holds it.
  static absl::StatusOr<std::unique_ptr<FileLock>> TryTake(const std::string& path, int mode);

  // What others read in the file while it is held.
  absl::Status Write(absl::string_view text);

 private:
  FileLock(const std::string& path, int fd) : path_(path), file_(fd) {}

  const std::string path_;
  const Descriptor file_;
};

}  // namespace ds
