#include "base/file/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/descriptor.h"
#include "base/status.h"

namespace ds {
namespace {

// Opens for reading. O_NONBLOCK: a named pipe would wait for its writer here, for ever perhaps;
// regular files do not care.
int OpenToRead(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

absl::StatusOr<int64_t> RegularFileSize(int fd, const std::string& path) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, absl::StrCat("cannot look at ", path));
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  return static_cast<int64_t>(info.st_size);
}

// A folder whose name is not on the disk is taken away again: whoever tries a second time would
// find it there and sync nothing.
absl::Status MakeFolderThatLasts(const std::string& path) {
  FileSystem& files = FileSystem::Default();
  DS_ASSIGN_OR_RETURN(const bool made, files.MakeFolder(path));
  if (!made) return absl::OkStatus();
  const absl::Status synced = files.SyncFolder(ParentFolder(path));
  if (!synced.ok()) files.RemoveFolder(path).IgnoreError();
  return synced;
}

absl::Status MakeMissing(const std::string& path) {
  if (path.empty() || IsFolder(path)) return absl::OkStatus();
  DS_RETURN_IF_ERROR(MakeMissing(std::filesystem::path(path).parent_path().string()));
  return MakeFolderThatLasts(path);
}

absl::Status WriteAtomically(const std::string& path, absl::string_view bytes,
                             FileSystem::OpenMode mode) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file, AtomicFile::Create(path, mode));
  DS_RETURN_IF_ERROR(file->Append(bytes));
  return file->Commit();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const Descriptor file(OpenToRead(path));
  if (file.get() < 0) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  DS_ASSIGN_OR_RETURN(const int64_t size, RegularFileSize(file.get(), path));
  std::string bytes(static_cast<size_t>(size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, absl::StrCat("cannot read ", path));
    if (got == 0) break;  // it shrank meanwhile
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_(absl::StrCat(path_, ".tmp", ::getpid())) {}

absl::StatusOr<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path,
                                                               FileSystem::OpenMode mode) {
  auto file = std::unique_ptr<AtomicFile>(new AtomicFile(path));
  DS_ASSIGN_OR_RETURN(file->file_, FileSystem::Default().Open(file->temporary_, mode));
  return file;
}

AtomicFile::~AtomicFile() {
  if (file_ == nullptr) return;
  file_.reset();
  FileSystem::Default().RemoveFile(temporary_).IgnoreError();
}

absl::Status AtomicFile::Commit() {
  FileSystem& files = FileSystem::Default();
  DS_RETURN_IF_ERROR(file_->Sync());
  DS_RETURN_IF_ERROR(files.Rename(temporary_, path_));
  file_.reset();
  return files.SyncFolder(ParentFolder(path_));
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes) {
  return WriteAtomically(path, bytes, FileSystem::OpenMode::kReplace);
}

absl::Status WritePrivateFileAtomically(const std::string& path, absl::string_view bytes) {
  return WriteAtomically(path, bytes, FileSystem::OpenMode::kReplacePrivate);
}

absl::Status MakeFolders(const std::string& path) {
  const absl::Status made = MakeMissing(path);
  return made.ok() ? made : Annotate(made, absl::StrCat("making folder ", path));
}

absl::Status RemoveTree(const std::string& folder) {
  FileSystem& files = FileSystem::Default();
  DS_ASSIGN_OR_RETURN(const std::vector<FileSystem::Entry> entries, files.List(folder));
  for (const FileSystem::Entry& entry : entries) {
    const std::string path = absl::StrCat(folder, "/", entry.name);
    DS_RETURN_IF_ERROR(entry.is_folder ? RemoveTree(path) : files.RemoveFile(path));
  }
  return files.RemoveFolder(folder);
}

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::StatusOr<std::shared_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  const Descriptor file(OpenToRead(path));
  if (file.get() < 0) return ErrnoStatus(errno, absl::StrCat("cannot open ", path));
  DS_ASSIGN_OR_RETURN(const int64_t size, RegularFileSize(file.get(), path));
  if (size == 0) return std::shared_ptr<MappedFile>(new MappedFile(nullptr, 0));
  void* memory = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) return ErrnoStatus(errno, absl::StrCat("cannot map ", path));
  return std::shared_ptr<MappedFile>(
      new MappedFile(static_cast<const std::byte*>(memory), static_cast<size_t>(size)));
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace ds
