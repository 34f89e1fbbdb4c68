#include "federated/agent/site_files.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/status.h"

namespace ds::federated {
namespace {

absl::Status TooLarge(const std::string& digest, int64_t size, int64_t most_bytes) {
  return absl::PermissionDeniedError(absl::StrCat("the aggregator's blob ", digest, " has ", size,
                                                  " bytes, at most ", most_bytes,
                                                  " make sense here"));
}

absl::StatusOr<int64_t> CheckedSize(FederationClient& client, const std::string& digest,
                                    int64_t most_bytes) {
  DS_ASSIGN_OR_RETURN(const int64_t size, client.DownloadSize(digest));
  if (size >= 0 && size <= most_bytes) return size;
  return TooLarge(digest, size, most_bytes);
}

// Bytes in memory, as many as come: no call is needed to ask for their size first.
class BytesWriter final : public BlobWriter {
 public:
  BytesWriter(std::string digest, int64_t most_bytes)
      : digest_(std::move(digest)), most_bytes_(most_bytes) {}
  int64_t received() const override { return static_cast<int64_t>(bytes_.size()); }
  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) override {
    if (offset != received())
      return absl::DataLossError(absl::StrCat("bytes at ", offset, " where ", received(), " are"));
    const int64_t size = offset + static_cast<int64_t>(bytes.size());
    if (size > most_bytes_) return TooLarge(digest_, size, most_bytes_);
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  absl::Status Finish() override {
    if (Sha256Hex(bytes_) == digest_) return absl::OkStatus();
    bytes_.clear();
    return absl::DataLossError("they are not what their digest says");
  }
  std::string Take() { return std::move(bytes_); }

 private:
  const std::string digest_;
  const int64_t most_bytes_;
  std::string bytes_;
};

// Named by a situation that is not the newest any more: FailedPrecondition. What has arrived is
// damaged: it is dropped, and the next try begins anew.
absl::Status AsFetched(const absl::Status& status) {
  if (absl::IsNotFound(status)) return absl::FailedPreconditionError(status.message());
  if (absl::IsDataLoss(status)) return absl::UnavailableError(status.message());
  return status;
}

// Fetches into `store`, where it may be in part already.
absl::Status FetchInto(Store& store, FederationClient& client, const std::string& digest,
                       int64_t most_bytes) {
  if (store.Has(digest)) return absl::OkStatus();
  const absl::StatusOr<int64_t> size = CheckedSize(client, digest, most_bytes);
  if (absl::IsNotFound(size.status())) return AsFetched(size.status());
  DS_RETURN_IF_ERROR(size.status());
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<BlobWriter> writer, store.Write(digest, *size));
  return AsFetched(client.Download(digest, *writer));
}

// Has `path` the bytes that it is named by?
absl::StatusOr<bool> IsWhole(const std::string& path, const std::string& digest) {
  absl::StatusOr<std::shared_ptr<MappedFile>> file = MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) return false;
  DS_RETURN_IF_ERROR(file.status());
  return Sha256Hex((*file)->bytes()) == digest;
}

absl::Status CopyOut(const BlobReader& blob, const std::string& path) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  DS_RETURN_IF_ERROR(
      ForBlocks(blob, 0, blob.size(), [&](int64_t, absl::Span<const std::byte> bytes) {
        return file->Append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      }));
  return file->Commit();
}

}  // namespace

SiteFiles::SiteFiles(std::string folder, std::unique_ptr<Store> store)
    : folder_(std::move(folder)), store_(std::move(store)) {}

absl::StatusOr<std::unique_ptr<SiteFiles>> SiteFiles::Open(const std::string& folder) {
  DS_RETURN_IF_ERROR(MakeFolders(folder));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                      OpenFileStore(absl::StrCat(folder, "/arriving")));
  return std::unique_ptr<SiteFiles>(new SiteFiles(folder, std::move(store)));
}

absl::StatusOr<std::string> SiteFiles::Fetch(FederationClient& client, const std::string& digest,
                                             int64_t most_bytes) {
  const std::string path = absl::StrCat(folder_, "/", digest);
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(const bool whole, IsWhole(path, digest));
  if (!whole) {
    DS_RETURN_IF_ERROR(FetchInto(*store_, client, digest, most_bytes));
    DS_ASSIGN_OR_RETURN(const std::shared_ptr<BlobReader> blob, store_->Read(digest));
    DS_RETURN_IF_ERROR(CopyOut(*blob, path));
    DS_RETURN_IF_ERROR(store_->Remove(digest));
  }
  return path;
}

absl::Status SiteFiles::Remove(const std::string& path) {
  const absl::Status removed = FileSystem::Default().RemoveFile(path);
  return absl::IsNotFound(removed) ? absl::OkStatus() : removed;
}

absl::StatusOr<std::string> FetchBytes(FederationClient& client, const std::string& digest,
                                       int64_t most_bytes) {
  BytesWriter writer(digest, most_bytes);
  DS_RETURN_IF_ERROR(AsFetched(client.Download(digest, writer)));
  return writer.Take();
}

}  // namespace ds::federated
