// A file system that does what the machine's own does, for a test's double to change one thing of.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file/file_system.h"

namespace ds {

class ForwardingFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path,
                                                     OpenMode mode) override {
    return PosixFileSystem().Open(path, mode);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return PosixFileSystem().Rename(from, to);
  }
  absl::Status RemoveFile(const std::string& path) override {
    return PosixFileSystem().RemoveFile(path);
  }
  absl::Status RemoveFolder(const std::string& path) override {
    return PosixFileSystem().RemoveFolder(path);
  }
  absl::StatusOr<bool> MakeFolder(const std::string& path) override {
    return PosixFileSystem().MakeFolder(path);
  }
  absl::Status SyncFolder(const std::string& path) override {
    return PosixFileSystem().SyncFolder(path);
  }
  absl::StatusOr<std::vector<Entry>> List(const std::string& path) override {
    return PosixFileSystem().List(path);
  }
};

}  // namespace ds
