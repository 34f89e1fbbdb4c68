#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/store/blob_folder.h"
#include "federated/store/folder_lock.h"
#include "federated/store/log.h"
#include "federated/store/store.h"

namespace ds::federated {
namespace {

class FileStore final : public Store {
 public:
  FileStore(std::unique_ptr<FileLock> lock, std::unique_ptr<Log> log, std::string blobs)
      : lock_(std::move(lock)), log_(std::move(log)), blobs_(std::move(blobs)) {}

  absl::StatusOr<int64_t> Append(absl::string_view record) override { return log_->Append(record); }
  absl::Status Replay(
      absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit) override {
    return log_->Replay(visit);
  }
  absl::StatusOr<std::unique_ptr<BlobWriter>> Write(const std::string& digest,
                                                    int64_t size) override {
    return blobs_.Write(digest, size);
  }
  bool Has(const std::string& digest) const override { return blobs_.Has(digest); }
  absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const override {
    return blobs_.Read(digest);
  }
  absl::Status Remove(const std::string& digest) override { return blobs_.Remove(digest); }
  absl::StatusOr<std::vector<std::string>> Blobs() const override { return blobs_.Blobs(); }

 private:
  const std::unique_ptr<FileLock> lock_;
  const std::unique_ptr<Log> log_;
  BlobFolder blobs_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenFileStore(const std::string& folder) {
  DS_RETURN_IF_ERROR(MakeFolders(folder));
  DS_ASSIGN_OR_RETURN(auto lock, LockStore(folder));
  const std::string log_folder = absl::StrCat(folder, "/log");
  const std::string blob_folder = absl::StrCat(folder, "/blobs");
  DS_RETURN_IF_ERROR(MakeFolders(log_folder));
  DS_RETURN_IF_ERROR(MakeFolders(blob_folder));
  // What a killed process had renamed but not synced will be relied upon.
  DS_RETURN_IF_ERROR(FileSystem::Default().SyncFolder(log_folder));
  DS_RETURN_IF_ERROR(FileSystem::Default().SyncFolder(blob_folder));
  DS_ASSIGN_OR_RETURN(auto log, Log::Open(log_folder));
  return std::make_unique<FileStore>(std::move(lock), std::move(log), blob_folder);
}

}  // namespace ds::federated
