#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/mutex.h"
#include "base/status.h"
#include "federated/store/digest.h"
#include "federated/store/log_format.h"
#include "federated/store/store.h"

namespace ds::federated {
namespace {

using Bytes = std::vector<std::byte>;

// Bytes that readers share with the store.
class BytesReader final : public BlobReader {
 public:
  explicit BytesReader(std::shared_ptr<const Bytes> bytes)
      : bytes_(std::move(bytes)), reader_(SpanReader(*bytes_)) {}
  int64_t size() const override { return reader_->size(); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    return reader_->Read(offset, out);
  }

 private:
  const std::shared_ptr<const Bytes> bytes_;
  const std::shared_ptr<BlobReader> reader_;
};

class InMemory final : public Store {
 public:
  absl::StatusOr<int64_t> Append(absl::string_view record) override {
    if (static_cast<int64_t>(record.size()) > kMaximumRecordBytes)
      return absl::InvalidArgumentError(absl::StrCat("a log record of ", record.size(),
                                                     " bytes; at most ", kMaximumRecordBytes,
                                                     " are allowed, put the rest into a blob"));
    MutexLock lock(mutex_);
    records_.push_back(std::make_shared<const std::string>(record));
    return static_cast<int64_t>(records_.size()) - 1;
  }

  absl::Status Replay(
      absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit) override {
    std::vector<std::shared_ptr<const std::string>> records;
    {
      MutexLock lock(mutex_);
      records = records_;
    }
    for (size_t i = 0; i < records.size(); ++i)
      DS_RETURN_IF_ERROR(visit(static_cast<int64_t>(i), *records[i]));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<BlobWriter>> Write(const std::string& digest,
                                                    int64_t size) override;

  bool Has(const std::string& digest) const override {
    MutexLock lock(mutex_);
    return whole_.contains(digest);
  }

  absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const override {
    DS_RETURN_IF_ERROR(CheckDigest(digest));
    MutexLock lock(mutex_);
    const auto found = whole_.find(digest);
    if (found == whole_.end())
      return absl::NotFoundError(absl::StrCat("there is no blob ", digest));
    return std::make_shared<BytesReader>(found->second);
  }

  absl::Status Remove(const std::string& digest) override {
    DS_RETURN_IF_ERROR(CheckDigest(digest));
    MutexLock lock(mutex_);
    if (writing_.contains(digest)) return WriterIsOpen(digest);
    whole_.erase(digest);
    parts_.erase(digest);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> Blobs() const override {
    MutexLock lock(mutex_);
    std::set<std::string> found;
    for (const auto& [digest, bytes] : whole_) found.insert(digest);
    for (const auto& [digest, bytes] : parts_) found.insert(digest);
    return std::vector<std::string>(found.begin(), found.end());
  }

 private:
  class Writer;

  mutable Mutex mutex_;
  std::vector<std::shared_ptr<const std::string>> records_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<const Bytes>> whole_ ABSL_GUARDED_BY(mutex_);
  // Only its writer touches one that is being written.
  std::map<std::string, std::shared_ptr<Bytes>> parts_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> writing_ ABSL_GUARDED_BY(mutex_);
};

class InMemory::Writer final : public BlobWriter {
 public:
  Writer(InMemory& store, std::string digest, std::shared_ptr<Bytes> bytes, int64_t size,
         bool whole)
      : store_(store),
        digest_(std::move(digest)),
        bytes_(std::move(bytes)),
        size_(size),
        whole_(whole) {}
  ~Writer() override {
    MutexLock lock(store_.mutex_);
    store_.writing_.erase(digest_);
  }

  int64_t received() const override { return static_cast<int64_t>(bytes_->size()); }

  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) override {
    if (ended_) return Ended();
    DS_RETURN_IF_ERROR(
        CheckWrite(digest_, offset, static_cast<int64_t>(bytes.size()), received(), size_));
    const size_t known = std::min(bytes_->size() - static_cast<size_t>(offset), bytes.size());
    if (!std::equal(bytes.begin(), bytes.begin() + known, bytes_->begin() + offset))
      return OtherBytes(digest_, offset + static_cast<int64_t>(known));
    bytes_->insert(bytes_->end(), bytes.begin() + known, bytes.end());
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    if (whole_) return absl::OkStatus();
    if (ended_) return Ended();
    if (received() != size_) return NotAllThere(digest_, received(), size_);
    ended_ = true;
    Sha256 hash;
    hash.Update(*bytes_);
    const std::string found = hash.Hex();
    MutexLock lock(store_.mutex_);
    store_.parts_.erase(digest_);
    if (found != digest_) return WrongBytes(digest_, found);
    store_.whole_[digest_] = bytes_;
    return absl::OkStatus();
  }

 private:
  absl::Status Ended() const {
    return absl::FailedPreconditionError(
        absl::StrCat("the writer of blob ", digest_, " is finished; open another one"));
  }

  InMemory& store_;
  const std::string digest_;
  const std::shared_ptr<Bytes> bytes_;
  const int64_t size_;
  const bool whole_;
  bool ended_ = false;
};

absl::StatusOr<std::unique_ptr<BlobWriter>> InMemory::Write(const std::string& digest,
                                                            int64_t size) {
  DS_RETURN_IF_ERROR(CheckDigest(digest));
  if (size < 0)
    return absl::InvalidArgumentError(absl::StrCat("blob ", digest, ": a size of ", size));
  MutexLock lock(mutex_);
  if (writing_.contains(digest)) return WriterIsOpen(digest);
  if (const auto whole = whole_.find(digest); whole != whole_.end()) {
    const auto there = static_cast<int64_t>(whole->second->size());
    if (there != size)
      return absl::InvalidArgumentError(
          absl::StrCat("blob ", digest, " has ", there, " bytes, not ", size));
    writing_.insert(digest);
    // Its writer has nothing to add.
    return std::make_unique<Writer>(*this, digest, std::const_pointer_cast<Bytes>(whole->second),
                                    size, true);
  }
  std::shared_ptr<Bytes>& part = parts_[digest];
  if (part == nullptr || static_cast<int64_t>(part->size()) > size)
    part = std::make_shared<Bytes>();
  writing_.insert(digest);
  return std::make_unique<Writer>(*this, digest, part, size, false);
}

}  // namespace

std::unique_ptr<Store> MemoryStore() { return std::make_unique<InMemory>(); }

}  // namespace ds::federated
