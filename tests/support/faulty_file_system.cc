#include "tests/support/faulty_file_system.h"

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file/file.h"
#include "base/status.h"

namespace ds {

namespace fs = std::filesystem;

class FaultyFileSystem::File final : public WritableFile {
 public:
  File(FaultyFileSystem& owner, NodePtr node, std::unique_ptr<WritableFile> real, std::string path)
      : owner_(owner), node_(std::move(node)), real_(std::move(real)), path_(std::move(path)) {}

  absl::Status Append(absl::string_view bytes) override {
    const std::lock_guard lock(owner_.mutex_);
    const absl::Status status = owner_.Count("write", path_);
    if (!status.ok()) bytes = bytes.substr(0, bytes.size() / 2);
    DS_RETURN_IF_ERROR(real_->Append(bytes));
    absl::StrAppend(&node_->bytes, bytes);
    return status;
  }

  absl::Status Sync() override {
    const std::lock_guard lock(owner_.mutex_);
    DS_RETURN_IF_ERROR(owner_.Count("sync", path_));
    node_->synced = node_->bytes;
    return absl::OkStatus();
  }

 private:
  FaultyFileSystem& owner_;
  const NodePtr node_;
  const std::unique_ptr<WritableFile> real_;
  const std::string path_;
};

FaultyFileSystem::FaultyFileSystem(std::string root)
    : root_(std::move(root)), before_(ReplaceDefault(this)), tree_(Load(root_)) {}

FaultyFileSystem::~FaultyFileSystem() { ReplaceDefault(before_); }

FaultyFileSystem::NodePtr FaultyFileSystem::Load(const std::string& path) {
  auto node = std::make_shared<Node>();
  node->is_folder = fs::is_directory(path);
  if (!node->is_folder) {
    node->bytes = node->synced = *ReadFile(path);
    return node;
  }
  for (const auto& entry : fs::directory_iterator(path))
    node->names[entry.path().filename().string()] = Load(entry.path().string());
  Changed(*node);
  return node;
}

void FaultyFileSystem::FailAt(int64_t call, int error_number, bool for_good) {
  const std::lock_guard lock(mutex_);
  calls_ = 0;
  fail_at_ = call;
  error_number_ = error_number;
  for_good_ = for_good;
}

int64_t FaultyFileSystem::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

absl::Status FaultyFileSystem::Count(const char* what, const std::string& path) {
  ++calls_;
  if (fail_at_ == 0 || calls_ < fail_at_ || (calls_ > fail_at_ && !for_good_))
    return absl::OkStatus();
  return ErrnoStatus(error_number_, absl::StrCat("cannot ", what, " ", path));
}

FaultyFileSystem::NodePtr FaultyFileSystem::Find(const std::string& path) const {
  DS_CHECK(absl::StartsWith(path, root_)) << path << " lies outside " << root_;
  NodePtr node = tree_;
  for (const fs::path& part : fs::path(path.substr(root_.size())).relative_path()) {
    if (part.empty()) continue;
    const auto found = node->names.find(part.string());
    if (found == node->names.end()) return nullptr;
    node = found->second;
  }
  return node;
}

FaultyFileSystem::NodePtr FaultyFileSystem::Parent(const std::string& path) const {
  const NodePtr parent = Find(ParentFolder(path));
  DS_CHECK(parent != nullptr) << path;
  return parent;
}

absl::StatusOr<std::unique_ptr<WritableFile>> FaultyFileSystem::Open(const std::string& path,
                                                                     OpenMode mode) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("create", path));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> real, PosixFileSystem().Open(path, mode));
  NodePtr node = Find(path);
  if (node == nullptr) {
    node = std::make_shared<Node>();
    const NodePtr parent = Parent(path);
    parent->names[fs::path(path).filename().string()] = node;
    Changed(*parent);
  } else if (mode != OpenMode::kAppend) {
    node->bytes.clear();
  }
  return std::make_unique<File>(*this, std::move(node), std::move(real), path);
}

absl::Status FaultyFileSystem::Rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("rename", from));
  DS_RETURN_IF_ERROR(PosixFileSystem().Rename(from, to));
  const NodePtr node = Find(from), old_parent = Parent(from), parent = Parent(to);
  old_parent->names.erase(fs::path(from).filename().string());
  parent->names[fs::path(to).filename().string()] = node;
  Changed(*old_parent);
  if (parent != old_parent) Changed(*parent);
  return absl::OkStatus();
}

absl::Status FaultyFileSystem::RemoveFile(const std::string& path) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("remove", path));
  DS_RETURN_IF_ERROR(PosixFileSystem().RemoveFile(path));
  const NodePtr parent = Parent(path);
  parent->names.erase(fs::path(path).filename().string());
  Changed(*parent);
  return absl::OkStatus();
}

absl::Status FaultyFileSystem::RemoveFolder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("remove folder", path));
  DS_RETURN_IF_ERROR(PosixFileSystem().RemoveFolder(path));
  const NodePtr parent = Parent(path);
  parent->names.erase(fs::path(path).filename().string());
  Changed(*parent);
  return absl::OkStatus();
}

absl::StatusOr<bool> FaultyFileSystem::MakeFolder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("make folder", path));
  DS_ASSIGN_OR_RETURN(const bool made, PosixFileSystem().MakeFolder(path));
  if (!made) return false;
  auto node = std::make_shared<Node>();
  node->is_folder = true;
  Changed(*node);
  const NodePtr parent = Parent(path);
  parent->names[fs::path(path).filename().string()] = node;
  Changed(*parent);
  return true;
}

absl::Status FaultyFileSystem::SyncFolder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("sync folder", path));
  const NodePtr folder = Find(path);
  if (folder == nullptr) return absl::NotFoundError(path);
  folder->history = {folder->names};
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FileSystem::Entry>> FaultyFileSystem::List(const std::string& path) {
  const std::lock_guard lock(mutex_);
  DS_RETURN_IF_ERROR(Count("list", path));
  return PosixFileSystem().List(path);
}

void FaultyFileSystem::Write(const Node& node, const std::string& path, Survives survives,
                             std::mt19937_64& random) {
  const auto up_to = [&](size_t last) {
    return std::uniform_int_distribution<size_t>(0, last)(random);
  };
  if (!node.is_folder) {
    std::string bytes = node.synced;
    // Appended since, some of it or all.
    if (survives == Survives::kAnything && node.bytes.size() >= bytes.size())
      bytes = node.bytes.substr(0, bytes.size() + up_to(node.bytes.size() - bytes.size()));
    std::ofstream(path, std::ios::binary) << bytes;
    return;
  }
  fs::create_directory(path);
  const Names& names = survives == Survives::kSynced ? node.history.front()
                       : survives == Survives::kNames
                           ? node.names
                           : node.history[up_to(node.history.size() - 1)];
  for (const auto& [name, child] : names) Write(*child, path + "/" + name, survives, random);
}

void FaultyFileSystem::PowerCut(Survives survives, uint64_t seed) {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : fs::directory_iterator(root_)) fs::remove_all(entry.path());
  std::mt19937_64 random(seed);
  Write(*tree_, root_, survives, random);
  tree_ = Load(root_);
}

}  // namespace ds
