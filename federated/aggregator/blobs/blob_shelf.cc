#include "federated/aggregator/blobs/blob_shelf.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"

namespace ds::federated {
namespace {

class StringReader final : public BlobReader {
 public:
  explicit StringReader(std::shared_ptr<const std::string> bytes) : bytes_(std::move(bytes)) {}
  int64_t size() const override { return static_cast<int64_t>(bytes_->size()); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    if (offset < 0 || offset > size() || static_cast<int64_t>(out.size()) > size() - offset) {
      return absl::OutOfRangeError(
          absl::StrCat(out.size(), " bytes at ", offset, " of a blob of ", size()));
    }
    if (!out.empty()) std::memcpy(out.data(), bytes_->data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const std::string> bytes_;
};

absl::Span<const std::byte> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace

std::string BlobShelf::Keep(std::string bytes) {
  std::string digest = Sha256Hex(bytes);
  MutexLock lock(mutex_);
  bytes_[digest] = std::make_shared<const std::string>(std::move(bytes));
  return digest;
}

void BlobShelf::Keep(const BlobRef& blob) {
  if (blob.bytes.empty()) return;
  MutexLock lock(mutex_);
  bytes_[blob.digest] = std::make_shared<const std::string>(blob.bytes);
}

void BlobShelf::Drop(const std::string& digest) {
  MutexLock lock(mutex_);
  bytes_.erase(digest);
}

absl::StatusOr<std::shared_ptr<BlobReader>> BlobShelf::Read(const std::string& digest) const {
  {
    MutexLock lock(mutex_);
    const auto found = bytes_.find(digest);
    if (found != bytes_.end()) return std::make_shared<StringReader>(found->second);
  }
  return store_->Read(digest);
}

absl::StatusOr<std::shared_ptr<BlobReader>> ReadBlob(const Store& store, const BlobRef& blob) {
  if (blob.bytes.empty()) return store.Read(blob.digest);
  return std::make_shared<StringReader>(std::make_shared<const std::string>(blob.bytes));
}

absl::StatusOr<std::string> BlobBytes(const Store& store, const BlobRef& blob) {
  if (!blob.bytes.empty()) return blob.bytes;
  return GetBlob(store, blob.digest);
}

absl::StatusOr<BlobRef> MakeBlob(Store& store, std::string bytes, int64_t inline_bytes) {
  BlobRef blob{.size = static_cast<int64_t>(bytes.size())};
  if (blob.size > 0 && blob.size <= inline_bytes) {
    blob.digest = Sha256Hex(bytes);
    blob.bytes = std::move(bytes);
  } else {
    DS_ASSIGN_OR_RETURN(blob.digest, PutBlob(store, AsBytes(bytes)));
  }
  return blob;
}

}  // namespace ds::federated
