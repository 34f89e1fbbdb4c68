// Whole files: read, mapped, written atomically. Errors name the path and carry the system's words.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds {

// A status with the code that fits `error_number` ("cannot open x: No such file or directory").
absl::Status ErrnoStatus(int error_number, absl::string_view what);

absl::StatusOr<std::string> ReadFile(const std::string& path);
// Writes beside `path`, fsyncs, renames and fsyncs the folder: a reader sees the old file or the
// new one, whole. On an error the old file is as it was and nothing is left beside it.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view bytes);
// Like mkdir -p.
absl::Status MakeDirectories(const std::string& path);
absl::Status SyncDirectory(const std::string& path);

// A file mapped read-only; unmapped when the last owner goes.
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
