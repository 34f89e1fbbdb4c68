#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "base/file/descriptor.h"
#include "base/file/file_system.h"
#include "base/status.h"

namespace ds {
namespace {

absl::Status Result(int code, absl::string_view what, const std::string& path) {
  return code == 0 ? absl::OkStatus()
                   : ErrnoStatus(errno, absl::StrCat("cannot ", what, " ", path));
}

class PosixFile final : public WritableFile {
 public:
  PosixFile(int fd, std::string path) : file_(fd), path_(std::move(path)) {}

  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoStatus(errno, absl::StrCat("cannot write ", path_));
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  absl::Status Sync() override { return Result(::fsync(file_.get()), "sync", path_); }

 private:
  const Descriptor file_;
  const std::string path_;
};

class Posix final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path,
                                                     OpenMode mode) override {
    const int how = mode == OpenMode::kAppend ? O_APPEND : O_TRUNC;
    const bool is_private = mode == OpenMode::kReplacePrivate;
    const int fd =
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | how, is_private ? 0600 : 0644);
    if (fd < 0) return ErrnoStatus(errno, absl::StrCat("cannot create ", path));
    auto file = std::make_unique<PosixFile>(fd, path);
    // One that was there before has the rights that it had.
    if (is_private) DS_RETURN_IF_ERROR(Result(::fchmod(fd, 0600), "set the rights of", path));
    return file;
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    return Result(::rename(from.c_str(), to.c_str()), absl::StrCat("rename ", from, " to"), to);
  }

  absl::Status RemoveFile(const std::string& path) override {
    return Result(::unlink(path.c_str()), "remove", path);
  }

  absl::Status RemoveFolder(const std::string& path) override {
    return Result(::rmdir(path.c_str()), "remove folder", path);
  }

  absl::StatusOr<bool> MakeFolder(const std::string& path) override {
    if (::mkdir(path.c_str(), 0777) == 0) return true;
    const int error = errno;
    struct stat info;
    if (error == EEXIST && ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return false;
    return ErrnoStatus(error, absl::StrCat("cannot make folder ", path));
  }

  absl::Status SyncFolder(const std::string& path) override {
    const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() < 0) return ErrnoStatus(errno, absl::StrCat("cannot open folder ", path));
    return Result(::fsync(folder.get()), "sync folder", path);
  }

  absl::StatusOr<std::vector<Entry>> List(const std::string& path) override {
    DIR* folder = ::opendir(path.c_str());
    if (folder == nullptr) return ErrnoStatus(errno, absl::StrCat("cannot list ", path));
    std::vector<Entry> entries;
    errno = 0;
    while (const dirent* entry = ::readdir(folder)) {
      const std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      struct stat info;
      const bool known = ::fstatat(::dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0;
      entries.push_back({name, known && S_ISDIR(info.st_mode)});
      errno = 0;
    }
    const int error = errno;
    ::closedir(folder);
    if (error != 0) return ErrnoStatus(error, absl::StrCat("cannot list ", path));
    return entries;
  }
};

std::atomic<FileSystem*> replacement{nullptr};

}  // namespace

absl::Status ErrnoStatus(int error_number, absl::string_view what) {
  return absl::ErrnoToStatus(error_number, what);
}

FileSystem& PosixFileSystem() {
  static Posix* const posix = new Posix();
  return *posix;
}

FileSystem& FileSystem::Default() {
  FileSystem* const put = replacement.load();
  return put != nullptr ? *put : PosixFileSystem();
}

FileSystem* FileSystem::ReplaceDefault(FileSystem* file_system) {
  return replacement.exchange(file_system);
}

}  // namespace ds
