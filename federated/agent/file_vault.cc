#include "federated/agent/file_vault.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/mutex.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr absl::string_view kSuffix = ".vault";
constexpr size_t kLongestName = 100;  // in hexadecimal with the suffix still a file's name
constexpr size_t kDigestDigits = 64;

// The name is hashed too: a file that was renamed is another's value.
std::string Checksum(absl::string_view name, absl::string_view value) {
  Sha256 hash;
  hash.Update(absl::StrCat(name.size(), ":", name));
  hash.Update(value);
  return hash.Hex();
}

// Written beside its name, which it takes once it is whole. (AtomicFile waits for each folder.)
class NewFile {
 public:
  explicit NewFile(std::string path)
      : path_(std::move(path)), temporary_(absl::StrCat(path_, ".tmp", ::getpid())) {}
  ~NewFile() {
    if (file_ == nullptr) return;
    file_.reset();
    FileSystem::Default().RemoveFile(temporary_).IgnoreError();
  }
  // Not put together first: an update is megabytes.
  absl::Status Write(absl::string_view head, absl::string_view value) {
    DS_ASSIGN_OR_RETURN(
        file_, FileSystem::Default().Open(temporary_, FileSystem::OpenMode::kReplacePrivate));
    DS_RETURN_IF_ERROR(file_->Append(head));
    return file_->Append(value);
  }
  absl::Status Sync() { return file_->Sync(); }
  absl::Status TakeName() {
    DS_RETURN_IF_ERROR(FileSystem::Default().Rename(temporary_, path_));
    file_.reset();
    return absl::OkStatus();
  }

 private:
  const std::string path_, temporary_;
  std::unique_ptr<WritableFile> file_;
};

class FileVault final : public Vault {
 public:
  explicit FileVault(std::string folder) : folder_(std::move(folder)) {}

  absl::Status Put(const std::string& name, absl::string_view value) override {
    const VaultValue one = {name, value};
    return PutAll(absl::MakeConstSpan(&one, 1));
  }

  absl::Status PutAll(absl::Span<const VaultValue> values) override {
    std::set<std::string> names;
    for (const VaultValue& one : values) {
      DS_RETURN_IF_ERROR(CheckName(one.name));
      if (!names.insert(one.name).second)
        return absl::InvalidArgumentError("a value is put twice at once");
    }
    const Turn turn(*this, names);
    std::vector<std::unique_ptr<NewFile>> files;
    for (const VaultValue& one : values) {
      files.push_back(std::make_unique<NewFile>(Path(one.name)));
      DS_RETURN_IF_ERROR(files.back()->Write(Checksum(one.name, one.value), one.value));
    }
    // All bytes before the first name: a journal that takes one file's to the disk takes those of
    // the others along.
    for (const auto& file : files) DS_RETURN_IF_ERROR(file->Sync());
    for (const auto& file : files) DS_RETURN_IF_ERROR(file->TakeName());
    return files.empty() ? absl::OkStatus() : FileSystem::Default().SyncFolder(folder_);
  }

  absl::StatusOr<std::string> Get(const std::string& name) const override {
    DS_RETURN_IF_ERROR(CheckName(name));
    DS_ASSIGN_OR_RETURN(std::string bytes, ReadFile(Path(name)));
    const absl::string_view all = bytes;
    if (all.size() < kDigestDigits ||
        all.substr(0, kDigestDigits) != Checksum(name, all.substr(kDigestDigits)))
      return absl::DataLossError(
          absl::StrCat("the site's vault is damaged: ", Path(name),
                       " is not what was written; leave the run and join the next one"));
    bytes.erase(0, kDigestDigits);
    return bytes;
  }

  absl::Status Remove(const std::string& name) override {
    DS_RETURN_IF_ERROR(CheckName(name));
    const Turn turn(*this, {name});
    const absl::Status removed = FileSystem::Default().RemoveFile(Path(name));
    if (absl::IsNotFound(removed)) return absl::OkStatus();
    DS_RETURN_IF_ERROR(removed);
    return FileSystem::Default().SyncFolder(folder_);
  }

  absl::StatusOr<std::vector<std::string>> Names() const override {
    DS_ASSIGN_OR_RETURN(const std::vector<FileSystem::Entry> entries,
                        FileSystem::Default().List(folder_));
    std::vector<std::string> names;
    for (const FileSystem::Entry& entry : entries) {
      absl::string_view stem = entry.name;
      // What a kill left of a value that was never put.
      if (entry.is_folder || !absl::ConsumeSuffix(&stem, kSuffix)) continue;
      names.push_back(absl::HexStringToBytes(stem));
    }
    return names;
  }

 private:
  static absl::Status CheckName(const std::string& name) {
    if (!name.empty() && name.size() <= kLongestName) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("a vault's names have 1 to ", kLongestName,
                                                   " bytes, this one has ", name.size()));
  }
  std::string Path(const std::string& name) const {
    return absl::StrCat(folder_, "/", absl::BytesToHexString(name), kSuffix);
  }

  // One writer of a name at a time: they share a temporary file. Others need not wait for its disk.
  class Turn {
   public:
    Turn(FileVault& vault, std::set<std::string> names) : vault_(vault), names_(std::move(names)) {
      MutexLock lock(vault_.mutex_);
      while (IsWriting()) vault_.changed_.Wait(vault_.mutex_);
      vault_.writing_.insert(names_.begin(), names_.end());
    }
    ~Turn() {
      MutexLock lock(vault_.mutex_);
      for (const std::string& name : names_) vault_.writing_.erase(name);
      vault_.changed_.NotifyAll();
    }

   private:
    bool IsWriting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(vault_.mutex_) {
      for (const std::string& name : names_) {
        if (vault_.writing_.contains(name)) return true;
      }
      return false;
    }
    FileVault& vault_;
    const std::set<std::string> names_;
  };

  const std::string folder_;
  Mutex mutex_;
  CondVar changed_;
  std::set<std::string> writing_ ABSL_GUARDED_BY(mutex_);
};

// Under its name it is private from the first moment on.
absl::Status MakePrivateFolder(const std::string& folder) {
  const std::string parent = ParentFolder(folder), beside = absl::StrCat(folder, ".new");
  DS_RETURN_IF_ERROR(MakeFolders(parent));
  FileSystem& files = FileSystem::Default();
  DS_RETURN_IF_ERROR(files.MakeFolder(beside).status());
  if (::chmod(beside.c_str(), 0700) != 0)
    return ErrnoStatus(errno, absl::StrCat("cannot make private ", beside));
  DS_RETURN_IF_ERROR(files.Rename(beside, folder));
  return files.SyncFolder(parent);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Vault>> OpenFileVault(const std::string& folder) {
  if (!IsFolder(folder)) DS_RETURN_IF_ERROR(MakePrivateFolder(folder));
  struct stat info;
  if (::stat(folder.c_str(), &info) != 0)
    return ErrnoStatus(errno, absl::StrCat("cannot look at ", folder));
  if ((info.st_mode & 077) != 0)
    return absl::FailedPreconditionError(
        absl::StrCat("the site's vault ", folder,
                     " holds keys and others may enter it; mend: chmod 700 ", folder));
  return std::make_unique<FileVault>(folder);
}

}  // namespace ds::federated
