#include "federated/store/blob_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file/file_system.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/store/digest.h"
#include "federated/store/file_reader.h"

namespace ds::federated {
namespace {

// -1: there is none.
int64_t SizeOf(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? int64_t{info.st_size} : -1;
}

// Calls `visit` with the file's bytes [begin, end), block by block.
absl::Status ReadBlocks(const std::string& path, int64_t begin, int64_t end,
                        absl::FunctionRef<absl::Status(absl::Span<const std::byte>)> visit) {
  if (begin == end) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const auto file, OpenFileReader(path));
  return ForBlocks(*file, begin, end,
                   [&](int64_t, absl::Span<const std::byte> part) { return visit(part); });
}

absl::Status RemoveIfThere(const std::string& path) {
  const absl::Status status = FileSystem::Default().RemoveFile(path);
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace

// Hashes what passes by; only what an earlier process received is read again.
class FileBlobWriter final : public BlobWriter {
 public:
  FileBlobWriter(BlobFolder& folder, std::string digest, int64_t size)
      : folder_(folder),
        digest_(std::move(digest)),
        path_(folder.PathOf(digest_)),
        part_(folder.PartOf(digest_)),
        size_(size) {}
  ~FileBlobWriter() override { folder_.Release(digest_); }

  absl::Status Open() {
    const int64_t there = SizeOf(part_);
    // More than the blob has: they are another's, or never were what they should be.
    const bool keep = there >= 0 && there <= size_;
    DS_ASSIGN_OR_RETURN(
        file_, FileSystem::Default().Open(
                   part_, keep ? FileSystem::OpenMode::kAppend : FileSystem::OpenMode::kReplace));
    received_ = keep ? there : 0;
    return absl::OkStatus();
  }

  int64_t received() const override { return received_; }

  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) override {
    DS_RETURN_IF_ERROR(Usable());
    DS_RETURN_IF_ERROR(
        CheckWrite(digest_, offset, static_cast<int64_t>(bytes.size()), received_, size_));
    const int64_t known = std::min(received_ - offset, static_cast<int64_t>(bytes.size()));
    DS_RETURN_IF_ERROR(Compare(offset, bytes.first(static_cast<size_t>(known))));
    bytes.remove_prefix(static_cast<size_t>(known));
    if (bytes.empty()) return absl::OkStatus();
    DS_RETURN_IF_ERROR(HashUpTo(received_));
    // After an error the file may hold a part of these bytes: the next writer sees how many.
    ended_ = true;
    DS_RETURN_IF_ERROR(file_->Append(
        absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
    ended_ = false;
    hash_.Update(bytes);
    received_ += static_cast<int64_t>(bytes.size());
    hashed_ = received_;
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    DS_RETURN_IF_ERROR(Usable());
    if (received_ != size_) return NotAllThere(digest_, received_, size_);
    DS_RETURN_IF_ERROR(HashUpTo(size_));
    ended_ = true;
    if (const std::string found = hash_.Hex(); found != digest_) {
      file_.reset();
      DS_RETURN_IF_ERROR(RemoveIfThere(part_));
      return WrongBytes(digest_, found);
    }
    DS_RETURN_IF_ERROR(file_->Sync());
    DS_RETURN_IF_ERROR(FileSystem::Default().Rename(part_, path_));
    return FileSystem::Default().SyncFolder(folder_.folder_);
  }

 private:
  absl::Status Usable() const {
    if (!ended_) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("the writer of blob ", digest_, " is finished; open another one"));
  }

  absl::Status HashUpTo(int64_t end) {
    return ReadBlocks(part_, std::exchange(hashed_, end), end,
                      [&](absl::Span<const std::byte> bytes) {
                        hash_.Update(bytes);
                        return absl::OkStatus();
                      });
  }

  absl::Status Compare(int64_t offset, absl::Span<const std::byte> bytes) const {
    const int64_t end = offset + static_cast<int64_t>(bytes.size());
    return ReadBlocks(part_, offset, end, [&](absl::Span<const std::byte> there) {
      if (!std::equal(there.begin(), there.end(), bytes.begin())) return OtherBytes(digest_, end);
      bytes.remove_prefix(there.size());
      return absl::OkStatus();
    });
  }

  BlobFolder& folder_;
  const std::string digest_, path_, part_;
  const int64_t size_;
  std::unique_ptr<WritableFile> file_;
  Sha256 hash_;
  int64_t received_ = 0, hashed_ = 0;
  bool ended_ = false;
};

// Of a blob that is there already: compares what it is given.
class BlobFolder::WholeBlobWriter final : public BlobWriter {
 public:
  WholeBlobWriter(BlobFolder& folder, std::string digest, int64_t size)
      : folder_(folder), digest_(std::move(digest)), size_(size) {}
  ~WholeBlobWriter() override { folder_.Release(digest_); }

  int64_t received() const override { return size_; }
  absl::Status Write(int64_t offset, absl::Span<const std::byte> bytes) override {
    const auto count = static_cast<int64_t>(bytes.size());
    DS_RETURN_IF_ERROR(CheckWrite(digest_, offset, count, size_, size_));
    return ReadBlocks(folder_.PathOf(digest_), offset, offset + count,
                      [&](absl::Span<const std::byte> there) {
                        if (!std::equal(there.begin(), there.end(), bytes.begin()))
                          return OtherBytes(digest_, offset + count);
                        bytes.remove_prefix(there.size());
                        return absl::OkStatus();
                      });
  }
  // Again: a rename whose folder was not synced may have been what made it.
  absl::Status Finish() override { return FileSystem::Default().SyncFolder(folder_.folder_); }

 private:
  BlobFolder& folder_;
  const std::string digest_;
  const int64_t size_;
};

bool BlobFolder::Claim(const std::string& digest) {
  MutexLock lock(mutex_);
  return writing_.insert(digest).second;
}

void BlobFolder::Release(const std::string& digest) {
  MutexLock lock(mutex_);
  writing_.erase(digest);
}

absl::StatusOr<std::unique_ptr<BlobWriter>> BlobFolder::Write(const std::string& digest,
                                                              int64_t size) {
  DS_RETURN_IF_ERROR(CheckDigest(digest));
  if (size < 0)
    return absl::InvalidArgumentError(absl::StrCat("blob ", digest, ": a size of ", size));
  if (!Claim(digest)) return WriterIsOpen(digest);
  return OpenWriter(digest, size);
}

// From here on the writer's destructor releases the digest.
absl::StatusOr<std::unique_ptr<BlobWriter>> BlobFolder::OpenWriter(const std::string& digest,
                                                                   int64_t size) {
  const int64_t whole = SizeOf(PathOf(digest));
  if (whole >= 0) {
    auto writer = std::make_unique<WholeBlobWriter>(*this, digest, whole);
    if (whole != size)
      return absl::InvalidArgumentError(
          absl::StrCat("blob ", digest, " has ", whole, " bytes, not ", size));
    return writer;
  }
  auto writer = std::make_unique<FileBlobWriter>(*this, digest, size);
  DS_RETURN_IF_ERROR(writer->Open());
  return writer;
}

bool BlobFolder::Has(const std::string& digest) const {
  return CheckDigest(digest).ok() && SizeOf(PathOf(digest)) >= 0;
}

absl::StatusOr<std::shared_ptr<BlobReader>> BlobFolder::Read(const std::string& digest) const {
  DS_RETURN_IF_ERROR(CheckDigest(digest));
  return OpenFileReader(PathOf(digest));
}

absl::Status BlobFolder::Remove(const std::string& digest) {
  DS_RETURN_IF_ERROR(CheckDigest(digest));
  if (!Claim(digest)) return WriterIsOpen(digest);
  absl::Status status = RemoveIfThere(PathOf(digest));
  status.Update(RemoveIfThere(PartOf(digest)));
  Release(digest);
  return status;
}

absl::StatusOr<std::vector<std::string>> BlobFolder::Blobs() const {
  DS_ASSIGN_OR_RETURN(const auto entries, FileSystem::Default().List(folder_));
  std::set<std::string> found;
  for (const auto& entry : entries) {
    const absl::string_view digest = absl::StripSuffix(entry.name, ".part");
    if (CheckDigest(digest).ok()) found.emplace(digest);
  }
  return std::vector<std::string>(found.begin(), found.end());
}

}  // namespace ds::federated
