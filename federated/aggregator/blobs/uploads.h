// Updates on their way from the sites, until a commit names them. A site holds at most
// kUploadsASite of them, each exactly as large as an update is. Sites do not see what others have
// sent: bytes that another site has sent already must all come again, and are then kept once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "federated/round/records.h"
#include "federated/store/store.h"

namespace ds::federated {

// Thread-safe; sites write at the same time.
class Uploads {
 public:
  static constexpr int kUploadsASite = 2;

  // Up to `inline_bytes` an upload is kept in memory: it is in the commit's record later.
  Uploads(std::shared_ptr<Store> store, int64_t inline_bytes);
  ~Uploads();

  // Bytes of an update from here on.
  void SetSize(int64_t bytes);

  // Bytes that are there of the site's upload. FailedPrecondition: no update is asked for yet.
  // PermissionDenied: not an update's size.
  absl::StatusOr<int64_t> Received(const std::string& site, const std::string& digest,
                                   int64_t size);
  // Bytes that are there already must be the same. DataLoss: they are not, or the whole is not what
  // the digest says: the upload is dropped. OutOfRange: bytes before `offset` are missing.
  absl::Status Write(const std::string& site, const std::string& digest, int64_t size,
                     int64_t offset, absl::Span<const std::byte> bytes);
  // A whole upload of the site. NotFound.
  absl::StatusOr<BlobRef> Find(const std::string& site, const std::string& digest);
  // The site's upload is a record's now.
  void Committed(const std::string& site, const std::string& digest);
  // Drops what was sent for a round that is over; the digests that may lie in the store for it.
  std::vector<std::string> Clear();
  // Digests of uploads that gave way to newer ones. Only who knows all records may remove them: the
  // same bytes may be another site's update, or no update at all.
  std::vector<std::string> TakeEvicted();
  bool HasEvicted();
  // Out of the store, unless an upload is about to be it.
  absl::Status Remove(const std::string& digest);
  // Of whole updates and parts, since the start.
  std::map<std::string, int64_t> BytesBySite();

 private:
  struct Upload;
  using UploadPtr = std::shared_ptr<Upload>;

  absl::StatusOr<UploadPtr> Open(const std::string& site, const std::string& digest, int64_t size);
  void Drop(const std::string& site, const UploadPtr& upload);
  absl::Status Begin(Upload& upload);
  static absl::Status WriteInto(Upload& upload, int64_t offset, absl::Span<const std::byte> bytes);
  absl::Status Finish(Upload& upload);

  const std::shared_ptr<Store> store_;
  const int64_t inline_bytes_;
  Mutex mutex_;
  int64_t size_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::vector<UploadPtr>> by_site_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> evicted_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> bytes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
