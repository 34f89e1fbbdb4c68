#include "trainer/checkpoint/checkpoint_writer.h"

#include <algorithm>
#include <filesystem>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/log.h"
#include "base/status.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/checkpoint_names.h"

namespace ds {
namespace {

// Of the file that SerializeSafetensorsTo makes of them; what it refuses has no hash that counts.
std::string HashOfTensors(const TensorMap& tensors) {
  Sha256 hash;
  (void)SerializeSafetensorsTo(tensors, {}, [&](absl::string_view bytes) {
    hash.Update(bytes);
    return absl::OkStatus();
  });
  return hash.Hex();
}

void RemoveWithWarning(const std::string& folder) {
  const absl::Status removed = RemoveTree(folder);
  if (!removed.ok())
    Log(LogLevel::kWarning, absl::StrCat("cannot remove all of ", folder, ": ", removed.message()));
}

// Removes checkpoints. Out of sight first, and that for certain: a removal that is interrupted must
// not leave half a checkpoint under a name that readers take for one.
absl::Status RemoveCheckpoints(const std::string& root, const std::vector<std::string>& names) {
  if (names.empty()) return absl::OkStatus();
  FileSystem& files = FileSystem::Default();
  for (const std::string& name : names)
    DS_RETURN_IF_ERROR(files.Rename(Inside(root, name), Inside(root, kRemovingPrefix + name)));
  DS_RETURN_IF_ERROR(files.SyncFolder(root));
  for (const std::string& name : names) RemoveWithWarning(Inside(root, kRemovingPrefix + name));
  return absl::OkStatus();
}

// What a killed writer left. A checkpoint that made way for one that never came gets its name
// back; the rest goes, once it is certain that no name comes back.
absl::Status PutInOrder(const std::string& root) {
  FileSystem& files = FileSystem::Default();
  DS_ASSIGN_OR_RETURN(const std::vector<FileSystem::Entry> entries, files.List(root));
  std::vector<std::string> replaced, halves;
  bool renamed = false;
  for (const FileSystem::Entry& entry : entries) {
    if (!entry.is_folder) continue;
    absl::string_view name = entry.name;
    if (absl::StartsWith(name, kWritingPrefix) || absl::StartsWith(name, kRemovingPrefix)) {
      halves.push_back(Inside(root, name));
    } else if (absl::ConsumePrefix(&name, kReplacedPrefix) && IsCheckpointName(name)) {
      if (IsFolder(Inside(root, name))) {
        replaced.push_back(entry.name);
      } else {
        DS_RETURN_IF_ERROR(files.Rename(Inside(root, entry.name), Inside(root, name)));
        renamed = true;
      }
    }
  }
  if (renamed || !halves.empty()) DS_RETURN_IF_ERROR(files.SyncFolder(root));
  for (const std::string& folder : halves) RemoveWithWarning(folder);
  return RemoveCheckpoints(root, replaced);
}

}  // namespace

absl::StatusOr<ManifestEntry> WriteTensorFile(const std::string& folder, absl::string_view stem,
                                              const TensorMap& tensors) {
  if (!IsCheckpointFileName(stem)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", stem, "' cannot name a checkpoint's file: use letters, digits, '_' and '-'"));
  }
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                      FileSystem::Default().Open(absl::StrCat(folder, "/", stem, kTensorSuffix),
                                                 FileSystem::OpenMode::kReplace));
  // The same bytes are hashed by another thread while they are written and synced, so that a
  // checkpoint takes no longer for it. Nobody trains meanwhile: there is a core for it.
  std::future<std::string> hash =
      std::async(std::launch::async, [&tensors] { return HashOfTensors(tensors); });
  uint64_t size = 0;
  DS_RETURN_IF_ERROR(SerializeSafetensorsTo(tensors, {}, [&](absl::string_view bytes) {
    size += bytes.size();
    return file->Append(bytes);
  }));
  DS_RETURN_IF_ERROR(file->Sync());
  return ManifestEntry{.bytes = size, .sha256 = hash.get()};
}

absl::StatusOr<ManifestEntry> WriteCheckpointFile(const std::string& folder,
                                                  absl::string_view file_name,
                                                  absl::string_view bytes) {
  // It needs no name of its own until it is complete: the folder has none.
  DS_ASSIGN_OR_RETURN(
      const std::unique_ptr<WritableFile> file,
      FileSystem::Default().Open(Inside(folder, file_name), FileSystem::OpenMode::kReplace));
  DS_RETURN_IF_ERROR(file->Append(bytes));
  DS_RETURN_IF_ERROR(file->Sync());
  return ManifestEntry{.bytes = bytes.size(), .sha256 = Sha256Hex(bytes)};
}

CheckpointWriter::CheckpointWriter(std::string root, std::string name)
    : root_(std::move(root)),
      name_(std::move(name)),
      folder_(Inside(root_, kWritingPrefix + name_)) {}

absl::StatusOr<std::unique_ptr<CheckpointWriter>> CheckpointWriter::Begin(const std::string& root,
                                                                          int64_t step) {
  if (step < 0 || step > kMaxCheckpointStep) {
    return absl::InvalidArgumentError(absl::StrCat(
        "step ", step, " has no checkpoint's name: 0 to ", kMaxCheckpointStep, " have"));
  }
  DS_RETURN_IF_ERROR(MakeFolders(root));
  DS_RETURN_IF_ERROR(PutInOrder(root));
  auto writer = std::unique_ptr<CheckpointWriter>(new CheckpointWriter(root, CheckpointName(step)));
  DS_RETURN_IF_ERROR(FileSystem::Default().MakeFolder(writer->folder_).status());
  return writer;
}

CheckpointWriter::~CheckpointWriter() {
  if (!published_ && IsFolder(folder_)) RemoveWithWarning(folder_);
}

absl::Status CheckpointWriter::AddTensors(const std::string& stem, const TensorMap& tensors) {
  DS_ASSIGN_OR_RETURN(manifest_[stem + kTensorSuffix], WriteTensorFile(folder_, stem, tensors));
  return absl::OkStatus();
}

absl::Status CheckpointWriter::AddState(const std::string& json) {
  if (!nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false).is_object()) {
    return absl::InvalidArgumentError(
        "the checkpoint's state_json is not the text of a JSON object");
  }
  DS_ASSIGN_OR_RETURN(manifest_[kStateFile], WriteCheckpointFile(folder_, kStateFile, json));
  return absl::OkStatus();
}

absl::Status CheckpointWriter::CheckFiles() const {
  for (const auto& [name, entry] : manifest_) {
    const std::string path = Inside(folder_, name);
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(path, error);
    if (error || size != entry.bytes) {
      return absl::DataLossError(absl::StrCat(
          path, " was to have ", entry.bytes, " bytes and ",
          error ? "is not there" : absl::StrCat("has ", size),
          ": is that folder another one for another rank? Name one that all ranks share"));
    }
  }
  return absl::OkStatus();
}

// The folder gets its name. One that bears it already (a run went back to an older checkpoint)
// makes way under a name that readers know, so that there is a complete one at every moment.
absl::Status CheckpointWriter::Publish() {
  FileSystem& files = FileSystem::Default();
  const std::string final_name = Inside(root_, name_),
                    replaced = Inside(root_, kReplacedPrefix + name_);
  const bool replaces = IsFolder(final_name);
  if (replaces) DS_RETURN_IF_ERROR(files.Rename(final_name, replaced));
  const absl::Status renamed = files.Rename(folder_, final_name);
  if (!renamed.ok()) {
    if (replaces) files.Rename(replaced, final_name).IgnoreError();
    return renamed;
  }
  published_ = true;
  return files.SyncFolder(root_);
}

// Also the one that this one replaces.
void CheckpointWriter::RemoveOlder(int64_t keep) const {
  int64_t kept = 1;  // this one
  std::vector<std::string> others;
  for (const std::string& folder : CheckpointFolders(root_)) {
    const std::string name = std::filesystem::path(folder).filename().string();
    if (name == name_) continue;
    if (IsCheckpointName(name) && kept < keep) {
      ++kept;
    } else {
      others.push_back(name);
    }
  }
  const absl::Status removed = RemoveCheckpoints(root_, others);
  if (!removed.ok())  // the next writer tries again
    Log(LogLevel::kWarning, absl::StrCat("cannot remove older checkpoints: ", removed.message()));
}

absl::Status CheckpointWriter::Commit(int64_t keep) {
  DS_RETURN_IF_ERROR(CheckFiles());
  DS_RETURN_IF_ERROR(
      WriteCheckpointFile(folder_, kManifestFile, RenderManifest(manifest_)).status());
  DS_RETURN_IF_ERROR(FileSystem::Default().SyncFolder(folder_));
  DS_RETURN_IF_ERROR(Publish());
  RemoveOlder(keep);
  return absl::OkStatus();
}

}  // namespace ds
