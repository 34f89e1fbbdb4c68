// One writer at a time in an authority's folder, whatever the process: ds_pki and a running
// aggregator share it. Only this room's sources read it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file/file_lock.h"

namespace ds::federated {

// Unavailable after `patience`.
absl::StatusOr<std::unique_ptr<FileLock>> LockAuthority(const std::string& folder,
                                                        absl::Duration patience);

}  // namespace ds::federated
