// The files that a site has from its aggregator, each named by its SHA-256: fetched once, resumed
// where a kill or a lost link left off, verified, on the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/store/store.h"
#include "federated/wire/service.h"

namespace ds::federated {

// Thread-safe: several sites of one process may share it.
class SiteFiles {
 public:
  // `folder` is made where it is not there. FailedPrecondition where another process has it.
  static absl::StatusOr<std::unique_ptr<SiteFiles>> Open(const std::string& folder);

  // The file's path; it stays until Remove. Errors are the client's, the disk's, and
  // PermissionDenied for a size above `most_bytes`.
  absl::StatusOr<std::string> Fetch(FederationClient& client, const std::string& digest,
                                    int64_t most_bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Remove(const std::string& path);

 private:
  SiteFiles(std::string folder, std::unique_ptr<Store> store);

  const std::string folder_;
  Mutex mutex_;
  const std::unique_ptr<Store> store_ ABSL_GUARDED_BY(mutex_);  // what is under way
};

// A small blob, into memory.
absl::StatusOr<std::string> FetchBytes(FederationClient& client, const std::string& digest,
                                       int64_t most_bytes);

}  // namespace ds::federated
