// The blobs of a store as files named by their digests; one under way has ".part" behind its name
// and holds the bytes from the first on.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/store/store.h"

namespace ds::federated {

// Each function as Store's. Outlives its writers.
class BlobFolder {
 public:
  // `folder` is there.
  explicit BlobFolder(std::string folder) : folder_(std::move(folder)) {}

  absl::StatusOr<std::unique_ptr<BlobWriter>> Write(const std::string& digest, int64_t size);
  bool Has(const std::string& digest) const;
  absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const;
  absl::Status Remove(const std::string& digest);
  absl::StatusOr<std::vector<std::string>> Blobs() const;

 private:
  friend class FileBlobWriter;
  class WholeBlobWriter;

  std::string PathOf(const std::string& digest) const { return folder_ + "/" + digest; }
  std::string PartOf(const std::string& digest) const { return PathOf(digest) + ".part"; }
  bool Claim(const std::string& digest);
  void Release(const std::string& digest);
  absl::StatusOr<std::unique_ptr<BlobWriter>> OpenWriter(const std::string& digest, int64_t size);

  const std::string folder_;
  Mutex mutex_;
  std::set<std::string> writing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
