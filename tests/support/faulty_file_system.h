// Files that fail when a test wants it, and a disk whose power can be cut: what is done under one
// folder is done for real, and besides it is written down what a disk would hold of it.
//
// The disk's rules: a file's bytes are there since its last Sync; later ones may be. A folder's
// names are as SyncFolder found them, or as they were after any later change, for all of the
// folder's names at once (as a journal has it). Each file and each folder decides for itself, so a
// removal may have emptied a folder that still has its old name.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "base/file/file_system.h"

namespace ds {

// FileSystem::Default() while it lives. Thread-safe.
class FaultyFileSystem final : public FileSystem {
 public:
  // What lies in `root` (an absolute path) by now is on the disk.
  explicit FaultyFileSystem(std::string root);
  ~FaultyFileSystem() override;

  // The `call`th call from now, from 1, fails with `error_number` and does nothing (an Append does
  // half); with `for_good` all later ones too, as after a power cut.
  void FailAt(int64_t call, int error_number, bool for_good);
  void FailNoMore() { FailAt(0, 0, false); }
  // Since the last FailAt, failed ones too.
  int64_t calls() const;

  enum class Survives {
    kSynced,    // what was synced, and nothing else
    kNames,     // all changes of names, but of bytes only the synced
    kAnything,  // of all that a disk may hold something, by `seed`
  };
  // Leaves in `root` what survives. Files open for writing are lost to it.
  void PowerCut(Survives survives, uint64_t seed = 0);

  absl::StatusOr<std::unique_ptr<WritableFile>> Open(const std::string& path,
                                                     OpenMode mode) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveFolder(const std::string& path) override;
  absl::StatusOr<bool> MakeFolder(const std::string& path) override;
  absl::Status SyncFolder(const std::string& path) override;
  absl::StatusOr<std::vector<Entry>> List(const std::string& path) override;

 private:
  class File;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  using Names = std::map<std::string, NodePtr>;
  struct Node {
    bool is_folder = false;
    Names names;                 // of a folder, now
    std::vector<Names> history;  // of a folder: as synced, and after each change since
    std::string bytes, synced;   // of a file
  };

  absl::Status Count(const char* what, const std::string& path);
  static NodePtr Load(const std::string& path);
  static void Changed(Node& folder) { folder.history.push_back(folder.names); }
  NodePtr Find(const std::string& path) const;  // null if it is not there
  NodePtr Parent(const std::string& path) const;
  static void Write(const Node& node, const std::string& path, Survives survives,
                    std::mt19937_64& random);

  const std::string root_;
  FileSystem* const before_;
  mutable std::mutex mutex_;
  NodePtr tree_;
  int64_t calls_ = 0, fail_at_ = 0;
  int error_number_ = 0;
  bool for_good_ = false;
};

}  // namespace ds
