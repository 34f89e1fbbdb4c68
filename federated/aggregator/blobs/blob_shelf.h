// Where the aggregator's blobs are read from: few bytes lie in memory (they are in the log's
// records, or follow from them), all others in the store.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/round/records.h"
#include "federated/store/store.h"

namespace ds::federated {

// Thread-safe.
class BlobShelf {
 public:
  explicit BlobShelf(std::shared_ptr<Store> store) : store_(std::move(store)) {}

  // Bytes that follow from the log; their digest.
  std::string Keep(std::string bytes);
  void Keep(const BlobRef& blob);        // nothing where its bytes are in the store
  void Drop(const std::string& digest);  // from memory
  absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const;

 private:
  const std::shared_ptr<Store> store_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<const std::string>> bytes_ ABSL_GUARDED_BY(mutex_);
};

// A reader of the record's own bytes, or of the store's.
absl::StatusOr<std::shared_ptr<BlobReader>> ReadBlob(const Store& store, const BlobRef& blob);
// All of it.
absl::StatusOr<std::string> BlobBytes(const Store& store, const BlobRef& blob);
// Few bytes into the reference itself, more into the store, durable.
absl::StatusOr<BlobRef> MakeBlob(Store& store, std::string bytes, int64_t inline_bytes);

}  // namespace ds::federated
