// One writer at a time in a folder, whatever the process: ds_pki and a running aggregator share an
// authority's. Only this room's sources read it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file/descriptor.h"

namespace ds::federated {

// Held until it is destroyed; a killed process's is free at once.
class FolderLock {
 public:
  // Unavailable after `patience`.
  static absl::StatusOr<std::unique_ptr<FolderLock>> Take(const std::string& folder,
                                                          absl::Duration patience);

 private:
  explicit FolderLock(int fd) : file_(fd) {}
  const Descriptor file_;
};

}  // namespace ds::federated
