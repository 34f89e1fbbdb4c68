// The operations that change files, behind one seam: everything that the programs save goes through
// it, so that a test can put another in its place, one that fails at the nth call or forgets at a
// power cut what was not synced (tests/support/faulty_file_system.h). Reading is not part of it.
//
// What lasts: a file's bytes once the file is synced; a name, a new folder's or a renamed or
// removed one's too, once the folder that holds it is synced. All messages name the path and carry
// the system's words.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds {

// A status with the code that fits `error_number` ("cannot open x: No such file or directory").
absl::Status ErrnoStatus(int error_number, absl::string_view what);

// A file open for writing; the destructor closes it.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  // All of `bytes`, handed to the system: a reader sees them, a power cut may take them.
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // Everything appended so far is on the disk.
  virtual absl::Status Sync() = 0;
};

class FileSystem {
 public:
  // kReplacePrivate: as kReplace, and nobody but the owner may read or write it (0600).
  enum class OpenMode { kReplace, kAppend, kReplacePrivate };
  struct Entry {
    std::string name;
    bool is_folder = false;  // a link is none, wherever it points
  };

  virtual ~FileSystem() = default;

  // Made if it is not there; kReplace and kReplacePrivate cut it to nothing first.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path,
                                                             OpenMode mode) = 0;
  // An existing file at `to` is replaced in one step.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  // An empty one.
  virtual absl::Status RemoveFolder(const std::string& path) = 0;
  // False: there is one of that name. Its parent must be there.
  virtual absl::StatusOr<bool> MakeFolder(const std::string& path) = 0;
  virtual absl::Status SyncFolder(const std::string& path) = 0;
  // Without "." and "..", in no order.
  virtual absl::StatusOr<std::vector<Entry>> List(const std::string& path) = 0;

  // The machine's own; in a test what ReplaceDefault has put there.
  static FileSystem& Default();
  // For tests. Returns what was there before. Null: the machine's own. Not owned. Saves are made
  // deep inside every room: a parameter down to each would always be the same pointer.
  static FileSystem* ReplaceDefault(FileSystem* file_system);
};

// The machine's own, whatever Default() is.
FileSystem& PosixFileSystem();

}  // namespace ds
