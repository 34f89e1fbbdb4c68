#include "federated/aggregator/blobs/uploads.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"

namespace ds::federated {

// One of three: few bytes in memory; a blob of the store under way; or bytes that the store has
// from another site or is getting from it, which are only hashed.
struct Uploads::Upload {
  Upload(std::string digest, int64_t size) : digest(std::move(digest)), size(size) {}

  const std::string digest;
  const int64_t size;
  Mutex mutex;
  bool begun ABSL_GUARDED_BY(mutex) = false;
  bool whole ABSL_GUARDED_BY(mutex) = false;
  bool in_memory ABSL_GUARDED_BY(mutex) = false;
  std::string memory ABSL_GUARDED_BY(mutex);
  std::unique_ptr<BlobWriter> writer ABSL_GUARDED_BY(mutex);
  Sha256 hash ABSL_GUARDED_BY(mutex);
  int64_t hashed ABSL_GUARDED_BY(mutex) = 0;

  int64_t Received() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (whole) return size;
    if (in_memory) return static_cast<int64_t>(memory.size());
    return writer != nullptr ? writer->received() : hashed;
  }
};

Uploads::Uploads(std::shared_ptr<Store> store, int64_t inline_bytes)
    : store_(std::move(store)), inline_bytes_(inline_bytes) {}
Uploads::~Uploads() = default;

void Uploads::SetSize(int64_t bytes) {
  MutexLock lock(mutex_);
  size_ = bytes;
}

absl::StatusOr<Uploads::UploadPtr> Uploads::Open(const std::string& site, const std::string& digest,
                                                 int64_t size) {
  UploadPtr upload, oldest;  // the oldest goes without the lock
  {
    MutexLock lock(mutex_);
    if (size_ == 0) {
      return absl::FailedPreconditionError("no update is asked for before the first round");
    }
    if (size != size_) {
      return absl::PermissionDeniedError(absl::StrCat("site '", site, "' may store updates of ",
                                                      size_, " bytes, and asks for ", size));
    }
    std::vector<UploadPtr>& held = by_site_[site];
    for (const UploadPtr& other : held) {
      if (other->digest == digest) return other;
    }
    if (held.size() >= kUploadsASite) {
      oldest = held.front();
      held.erase(held.begin());
      if (oldest->size > inline_bytes_) evicted_.push_back(oldest->digest);
    }
    upload = std::make_shared<Upload>(digest, size);
    held.push_back(upload);
  }
  return upload;
}

absl::Status Uploads::Begin(Upload& upload) {
  MutexLock lock(upload.mutex);
  if (upload.begun) return absl::OkStatus();
  if (upload.size <= inline_bytes_) {
    upload.in_memory = true;
    upload.memory.reserve(upload.size);
  } else if (!store_->Has(upload.digest)) {
    auto writer = store_->Write(upload.digest, upload.size);
    if (writer.ok()) {
      upload.writer = *std::move(writer);
    } else if (writer.status().code() != absl::StatusCode::kFailedPrecondition) {
      return writer.status();
    }
  }
  upload.begun = true;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Uploads::Received(const std::string& site, const std::string& digest,
                                          int64_t size) {
  DS_ASSIGN_OR_RETURN(UploadPtr upload, Open(site, digest, size));
  const absl::Status begun = Begin(*upload);
  if (!begun.ok()) {
    Drop(site, upload);
    return begun;
  }
  // All bytes may have come before a restart, which left nobody to look at them.
  if (const absl::Status finished = Finish(*upload); !finished.ok()) {
    Drop(site, upload);
    if (absl::IsDataLoss(finished)) return 0;
    return finished;
  }
  MutexLock lock(upload->mutex);
  return upload->Received();
}

absl::Status Uploads::WriteInto(Upload& upload, int64_t offset, absl::Span<const std::byte> bytes) {
  MutexLock lock(upload.mutex);
  const auto count = static_cast<int64_t>(bytes.size());
  if (offset < 0 || offset > upload.size || count > upload.size - offset) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " bytes at ", offset, " of an update of ", upload.size, " bytes"));
  }
  if (upload.whole) return absl::OkStatus();
  const int64_t received = upload.Received();
  if (offset > received) {
    return absl::OutOfRangeError(
        absl::StrCat("bytes from ", offset, " on, where ", received, " are there"));
  }
  if (upload.writer != nullptr) return upload.writer->Write(offset, bytes);
  const int64_t known = std::min(count, received - offset);
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (upload.in_memory) {
    if (absl::string_view(upload.memory).substr(offset, known) != text.substr(0, known)) {
      return absl::DataLossError("other bytes than before");
    }
    absl::StrAppend(&upload.memory, text.substr(known));
  } else {
    upload.hash.Update(text.substr(known));
    upload.hashed += count - known;
  }
  return absl::OkStatus();
}

absl::Status Uploads::Finish(Upload& upload) {
  MutexLock lock(upload.mutex);
  if (upload.whole || upload.Received() < upload.size) return absl::OkStatus();
  if (upload.writer != nullptr) {
    DS_RETURN_IF_ERROR(upload.writer->Finish());
    upload.writer.reset();
  } else {
    const std::string digest = upload.in_memory ? Sha256Hex(upload.memory) : upload.hash.Hex();
    if (digest != upload.digest) {
      return absl::DataLossError("the bytes are not what their digest says");
    }
    if (!upload.in_memory && !store_->Has(upload.digest)) {
      return absl::DataLossError("the update was not kept: send it again");
    }
  }
  upload.whole = true;
  return absl::OkStatus();
}

absl::Status Uploads::Write(const std::string& site, const std::string& digest, int64_t size,
                            int64_t offset, absl::Span<const std::byte> bytes) {
  DS_ASSIGN_OR_RETURN(UploadPtr upload, Open(site, digest, size));
  absl::Status status = Begin(*upload);
  if (status.ok()) status = WriteInto(*upload, offset, bytes);
  if (status.ok()) status = Finish(*upload);
  if (status.ok()) {
    MutexLock lock(mutex_);
    bytes_[site] += static_cast<int64_t>(bytes.size());
    return status;
  }
  const bool goes_on = status.code() == absl::StatusCode::kOutOfRange ||
                       status.code() == absl::StatusCode::kInvalidArgument;
  if (!goes_on) Drop(site, upload);
  return Annotate(status, absl::StrCat("upload of site '", site, "'"));
}

absl::StatusOr<BlobRef> Uploads::Find(const std::string& site, const std::string& digest) {
  UploadPtr upload;
  {
    MutexLock lock(mutex_);
    for (const UploadPtr& held : by_site_[site]) {
      if (held->digest == digest) upload = held;
    }
  }
  if (upload != nullptr) {
    MutexLock lock(upload->mutex);
    if (upload->whole) return BlobRef{upload->digest, upload->size, upload->memory};
  }
  return absl::NotFoundError(
      absl::StrCat("site '", site, "' has not uploaded the update ", digest, ": upload it first"));
}

void Uploads::Drop(const std::string& site, const UploadPtr& upload) {
  MutexLock lock(mutex_);
  std::erase(by_site_[site], upload);
}

void Uploads::Committed(const std::string& site, const std::string& digest) {
  MutexLock lock(mutex_);
  std::erase_if(by_site_[site], [&](const UploadPtr& held) { return held->digest == digest; });
}

std::vector<std::string> Uploads::Clear() {
  MutexLock lock(mutex_);
  std::vector<std::string> digests;
  for (const auto& [site, held] : by_site_) {
    for (const UploadPtr& upload : held) {
      if (upload->size > inline_bytes_) digests.push_back(upload->digest);
    }
  }
  by_site_.clear();
  return digests;
}

std::vector<std::string> Uploads::TakeEvicted() {
  MutexLock lock(mutex_);
  return std::exchange(evicted_, {});
}

bool Uploads::HasEvicted() {
  MutexLock lock(mutex_);
  return !evicted_.empty();
}

absl::Status Uploads::Remove(const std::string& digest) {
  MutexLock lock(mutex_);
  for (const auto& [site, held] : by_site_) {
    for (const UploadPtr& upload : held) {
      if (upload->digest == digest) return absl::OkStatus();
    }
  }
  return store_->Remove(digest);
}

std::map<std::string, int64_t> Uploads::BytesBySite() {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace ds::federated
