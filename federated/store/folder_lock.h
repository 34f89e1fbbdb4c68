// One process at a time in a folder.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/file/descriptor.h"

namespace ds::federated {

// Held while it lives, and let go by the system when its process ends, however it ends.
class FolderLock {
 public:
  // The file LOCK in `folder`. FailedPrecondition names the process that holds it.
  static absl::StatusOr<std::unique_ptr<FolderLock>> Take(const std::string& folder);

 private:
  explicit FolderLock(int fd) : file_(fd) {}

  const Descriptor file_;
};

}  // namespace ds::federated
