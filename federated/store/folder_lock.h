// One process at a time in a store's folder.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/file/file_lock.h"

namespace ds::federated {

// Holds the file LOCK in `folder`. FailedPrecondition names the process that holds it.
absl::StatusOr<std::unique_ptr<FileLock>> LockStore(const std::string& folder);

}  // namespace ds::federated
