#include "trainer/checkpoint/checkpoint.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/manifest.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "step-";
constexpr int kStepDigits = 12;
// What a killed writer leaves; nobody reads it and the next writer removes it.
constexpr char kTemporaryPrefix[] = ".writing-";
constexpr char kRemovedPrefix[] = ".removing-";
constexpr char kManifest[] = "manifest.json";
constexpr char kState[] = "state.json";
constexpr char kTensorSuffix[] = ".safetensors";

std::string Join(const std::string& folder, absl::string_view name) {
  return absl::StrCat(folder, "/", name);
}

std::string FolderName(int64_t step) {
  return absl::StrFormat("%s%0*d", kPrefix, kStepDigits, step);
}

bool IsCheckpointFolder(absl::string_view name) {
  return absl::ConsumePrefix(&name, kPrefix) && name.size() == static_cast<size_t>(kStepDigits) &&
         name.find_first_not_of("0123456789") == absl::string_view::npos;
}

bool IsLeftover(absl::string_view name) {
  return absl::StartsWith(name, kTemporaryPrefix) || absl::StartsWith(name, kRemovedPrefix);
}

// Names of the folders in `root` that `wanted` takes, the greatest (newest) first.
std::vector<std::string> List(const std::string& root, bool (*wanted)(absl::string_view)) {
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(root, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const std::string name = it->path().filename().string();
    if (wanted(name) && it->is_directory(ignored)) found.push_back(name);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

void RemoveFolder(const std::string& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) Log(LogLevel::kWarning, absl::StrCat("cannot remove ", folder, ": ", error.message()));
}

// Out of sight first: a removal that is interrupted must not leave half a checkpoint under a
// checkpoint's name.
void RemoveCheckpoint(const std::string& root, const std::string& name) {
  std::error_code error;
  const std::string hidden = Join(root, kRemovedPrefix + name);
  fs::rename(Join(root, name), hidden, error);
  RemoveFolder(error ? Join(root, name) : hidden);
}

absl::Status CheckInput(int64_t step, const Checkpoint& checkpoint) {
  if (step < 0 || FolderName(step).size() != std::size(kPrefix) - 1 + kStepDigits) {
    return absl::InvalidArgumentError(
        absl::StrCat("step ", step, " has no checkpoint's name: 0 to 10^12 - 1 have"));
  }
  for (const auto& [stem, tensors] : checkpoint.tensors) {
    if (!IsCheckpointFileName(stem)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", stem, "' cannot name a checkpoint's file: use letters, digits, '_' and '-'"));
    }
  }
  if (!nlohmann::json::parse(checkpoint.state_json, nullptr, /*allow_exceptions=*/false)
           .is_object()) {
    return absl::InvalidArgumentError(
        "the checkpoint's state_json is not the text of a JSON object");
  }
  return absl::OkStatus();
}

// Writes one file of the folder and enters it into the manifest.
absl::Status AddFile(const std::string& folder, const std::string& name, const std::string& bytes,
                     Manifest* manifest) {
  DS_RETURN_IF_ERROR(WriteFileAtomically(Join(folder, name), bytes));
  (*manifest)[name] = {.bytes = bytes.size(), .sha256 = Sha256Hex(bytes)};
  return absl::OkStatus();
}

absl::Status WriteFiles(const std::string& folder, const Checkpoint& checkpoint) {
  Manifest manifest;
  for (const auto& [stem, tensors] : checkpoint.tensors) {
    DS_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors(tensors));
    DS_RETURN_IF_ERROR(AddFile(folder, stem + kTensorSuffix, bytes, &manifest));
  }
  DS_RETURN_IF_ERROR(AddFile(folder, kState, checkpoint.state_json, &manifest));
  DS_RETURN_IF_ERROR(WriteFileAtomically(Join(folder, kManifest), RenderManifest(manifest)));
  return SyncDirectory(folder);
}

// Gives the finished folder its name. A run that went back to an older checkpoint may find the name
// taken: the two are then exchanged in one system call, so that there is a complete checkpoint of
// that name at every moment.
absl::Status Publish(const std::string& temporary, const std::string& final_name) {
  const auto rename = [&](unsigned flags) {
    return ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final_name.c_str(), flags) == 0
               ? 0
               : errno;
  };
  std::error_code ignored;
  int error = 0;
  if (fs::exists(final_name, ignored)) {
    error = rename(RENAME_EXCHANGE);
    if (error == 0) {
      RemoveFolder(temporary);
    } else if (error == EINVAL || error == ENOSYS) {
      // This file system cannot exchange. The older checkpoints are there while the name is free.
      const fs::path folder(final_name);
      RemoveCheckpoint(folder.parent_path().string(), folder.filename().string());
      error = ::rename(temporary.c_str(), final_name.c_str()) == 0 ? 0 : errno;
    }
  } else {
    error = ::rename(temporary.c_str(), final_name.c_str()) == 0 ? 0 : errno;
  }
  return error == 0
             ? absl::OkStatus()
             : ErrnoStatus(error, absl::StrCat("cannot rename ", temporary, " to ", final_name));
}

// The file's bytes, if they are what the manifest says.
absl::StatusOr<std::string> ReadVerified(const std::string& folder, const std::string& name,
                                         const ManifestEntry& entry) {
  const std::string path = Join(folder, name);
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) {
    return absl::DataLossError(
        absl::StrCat(path, " is in the manifest and cannot be read: ", bytes.status().message()));
  }
  if (bytes->size() != entry.bytes) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: it has ", bytes->size(),
                                            " bytes, the manifest says ", entry.bytes));
  }
  if (Sha256Hex(*bytes) != entry.sha256) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged: its SHA-256 is not the manifest's"));
  }
  return bytes;
}

absl::StatusOr<Manifest> ReadManifest(const std::string& folder) {
  const std::string path = Join(folder, kManifest);
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return absl::NotFoundError(absl::StrCat("there is no checkpoint folder ", folder));
  }
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok())
    return absl::DataLossError(absl::StrCat(path, " cannot be read: ", text.status().message()));
  return ParseManifest(*text, path);
}

}  // namespace

absl::Status WriteCheckpoint(const std::string& root, int64_t step, const Checkpoint& checkpoint,
                             int64_t keep) {
  DS_RETURN_IF_ERROR(CheckInput(step, checkpoint));
  DS_RETURN_IF_ERROR(MakeDirectories(root));
  for (const std::string& name : List(root, IsLeftover)) RemoveFolder(Join(root, name));
  const std::string name = FolderName(step), temporary = Join(root, kTemporaryPrefix + name);
  absl::Status status = MakeDirectories(temporary);
  if (status.ok()) status = WriteFiles(temporary, checkpoint);
  if (status.ok()) status = Publish(temporary, Join(root, name));
  if (status.ok()) status = SyncDirectory(root);
  if (!status.ok()) {
    RemoveFolder(temporary);
    return Annotate(status,
                    absl::StrCat("writing checkpoint ", name, " (earlier ones are untouched)"));
  }
  std::vector<std::string> others = List(root, IsCheckpointFolder);
  std::erase(others, name);
  const size_t kept = static_cast<size_t>(std::max<int64_t>(1, keep)) - 1;
  for (size_t i = kept; i < others.size(); ++i) RemoveCheckpoint(root, others[i]);
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  if (!manifest.contains(kState)) {
    return absl::DataLossError(
        absl::StrCat(Join(folder, kManifest), " is damaged: it does not name ", kState));
  }
  Checkpoint checkpoint;
  for (const auto& [name, entry] : manifest) {
    DS_ASSIGN_OR_RETURN(std::string bytes, ReadVerified(folder, name, entry));
    absl::string_view stem = name;
    if (name == kState) {
      checkpoint.state_json = std::move(bytes);
    } else if (absl::ConsumeSuffix(&stem, kTensorSuffix)) {
      auto owner = std::make_shared<std::string>(std::move(bytes));
      DS_ASSIGN_OR_RETURN(checkpoint.tensors[std::string(stem)],
                          ParseSafetensors(*owner, Join(folder, name), owner));
    }
  }
  return checkpoint;
}

absl::StatusOr<std::string> LatestCheckpoint(const std::string& root) {
  for (const std::string& name : List(root, IsCheckpointFolder)) {
    const std::string folder = Join(root, name);
    const absl::Status status = ReadCheckpoint(folder).status();
    if (status.ok()) return folder;
    Log(LogLevel::kWarning, absl::StrCat("skipping checkpoint ", folder, ": ", status.message()));
  }
  return absl::NotFoundError(absl::StrCat("there is no complete checkpoint under ", root));
}

}  // namespace ds
