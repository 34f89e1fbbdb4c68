// Whole files: read, mapped, written atomically. Errors name the path and carry the system's words.
// What changes files goes through FileSystem::Default().
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/file/file_system.h"

namespace ds {

absl::StatusOr<std::string> ReadFile(const std::string& path);

// A file that bears its name only once it is whole and on the disk: written beside `path`, synced,
// renamed, and the folder synced. A reader, and whoever comes after a power cut, finds the old file
// or the new one, whole.
class AtomicFile {
 public:
  static absl::StatusOr<std::unique_ptr<AtomicFile>> Create(
      const std::string& path, FileSystem::OpenMode mode = FileSystem::OpenMode::kReplace);
  // Not committed: nothing is left beside the old file.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Append(absl::string_view bytes) { return file_->Append(bytes); }
  // Once, last. On an error the old file is as it was, unless it was the folder that could not be
  // synced: then either may be found.
  absl::Status Commit();

 private:
  explicit AtomicFile(std::string path);

  const std::string path_;
  const std::string temporary_;
  std::unique_ptr<WritableFile> file_;
};

absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes);
// The same for secrets: only the owner may read it (0600), from its first byte on.
absl::Status WritePrivateFileAtomically(const std::string& path, absl::string_view bytes);

// Like mkdir -p; what was made lasts: the parent of each new folder is synced.
absl::Status MakeFolders(const std::string& path);
// Like rm -r, but that there must be a folder. Stops at the first error.
absl::Status RemoveTree(const std::string& folder);
bool IsFolder(const std::string& path);
// "." where the path names none.
std::string ParentFolder(const std::string& path);

// A file mapped read-only; unmapped when the last owner goes. It must not be cut shorter meanwhile:
// reading what has gone ends the process (SIGBUS). Replacing it by rename is safe.
class MappedFile {
 public:
  static absl::StatusOr<std::shared_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  absl::Span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  size_t size_;
};

}  // namespace ds
