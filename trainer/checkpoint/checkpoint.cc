#include "trainer/checkpoint/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/log.h"
#include "base/safetensors.h"
#include "base/sha256.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormatVersion = 1;
constexpr char kPrefix[] = "step-";
constexpr char kTemporaryPrefix[] = ".writing-";  // what a killed writer leaves; nobody reads it
constexpr char kManifest[] = "manifest.json";
constexpr char kState[] = "state.json";
constexpr char kTensorSuffix[] = ".safetensors";

std::string FolderName(int64_t step) { return absl::StrFormat("%s%012d", kPrefix, step); }

// Complete checkpoints (by name), newest first.
std::vector<std::string> List(const std::string& root, absl::string_view prefix) {
  std::vector<std::string> found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(root, error)) {
    const std::string name = entry.path().filename().string();
    if (absl::StartsWith(name, std::string(prefix)) && entry.is_directory(error)) found.push_back(entry.path().string());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

// Writes one file of the folder and enters it into the manifest.
absl::Status AddFile(const std::string& folder, const std::string& name, const std::string& bytes, Json* files) {
  DS_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(folder, "/", name), bytes));
  (*files)[name] = {{"bytes", bytes.size()}, {"sha256", Sha256Hex(bytes)}};
  return absl::OkStatus();
}

absl::Status WriteFiles(const std::string& folder, const Checkpoint& checkpoint) {
  Json files = Json::object();
  for (const auto& [stem, tensors] : checkpoint.tensors) {
    DS_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors(tensors));
    DS_RETURN_IF_ERROR(AddFile(folder, stem + kTensorSuffix, bytes, &files));
  }
  DS_RETURN_IF_ERROR(AddFile(folder, kState, checkpoint.state_json, &files));
  const Json manifest = {{"format_version", kFormatVersion}, {"files", files}};
  return WriteFileAtomically(absl::StrCat(folder, "/", kManifest), manifest.dump(2) + "\n");
}

absl::StatusOr<Json> ReadManifest(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kManifest);
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Json manifest = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object() || !manifest.contains("format_version") || !manifest.contains("files") ||
      !manifest["files"].is_object()) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: not a checkpoint's manifest"));
  }
  if (manifest["format_version"] != kFormatVersion) {
    return absl::UnimplementedError(absl::StrCat(path, " has format version ", manifest["format_version"].dump(),
                                                 ", this program reads ", kFormatVersion));
  }
  return manifest;
}

// The file's bytes, if they are what the manifest says.
absl::StatusOr<std::string> ReadVerified(const std::string& folder, const std::string& name, const Json& entry) {
  const std::string path = absl::StrCat(folder, "/", name);
  if (name.empty() || name.find('/') != std::string::npos || !entry.is_object() || !entry.contains("bytes") ||
      !entry["bytes"].is_number_unsigned() || !entry.contains("sha256") || !entry["sha256"].is_string()) {
    return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " is damaged: its entry '", name, "' makes no sense"));
  }
  absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return absl::DataLossError(absl::StrCat("checkpoint is incomplete: ", bytes.status().message()));
  if (bytes->size() != entry["bytes"].get<uint64_t>()) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: it has ", bytes->size(), " bytes, the manifest says ",
                                            entry["bytes"].dump()));
  }
  if (Sha256Hex(*bytes) != entry["sha256"].get<std::string>()) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: its SHA-256 is not the manifest's"));
  }
  return bytes;
}

void RemoveFolders(const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    std::error_code error;
    fs::remove_all(folder, error);
    if (error) Log(LogLevel::kWarning, absl::StrCat("cannot remove ", folder, ": ", error.message()));
  }
}

}  // namespace

absl::Status WriteCheckpoint(const std::string& root, int64_t step, const Checkpoint& checkpoint, int64_t keep) {
  DS_RETURN_IF_ERROR(MakeDirectories(root));
  RemoveFolders(List(root, kTemporaryPrefix));
  const std::string temporary = absl::StrCat(root, "/", kTemporaryPrefix, FolderName(step));
  const std::string final_name = absl::StrCat(root, "/", FolderName(step));
  DS_RETURN_IF_ERROR(MakeDirectories(temporary));
  absl::Status status = WriteFiles(temporary, checkpoint);
  if (status.ok()) status = SyncDirectory(temporary);
  std::error_code error;
  if (status.ok()) {
    // A run that goes back to an older checkpoint comes by here again.
    fs::remove_all(final_name, error);
    fs::rename(temporary, final_name, error);
    if (error) status = ErrnoStatus(error.value(), absl::StrCat("cannot rename ", temporary, " to ", final_name));
  }
  if (status.ok()) status = SyncDirectory(root);
  if (!status.ok()) {
    fs::remove_all(temporary, error);
    return Annotate(status, "writing a checkpoint (earlier ones are untouched)");
  }
  std::vector<std::string> old = List(root, kPrefix);
  std::erase(old, final_name);
  const size_t kept = static_cast<size_t>(std::max<int64_t>(1, keep)) - 1;
  if (old.size() > kept) RemoveFolders({old.begin() + static_cast<int64_t>(kept), old.end()});
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return absl::NotFoundError(absl::StrCat("no checkpoint at ", folder));
  DS_ASSIGN_OR_RETURN(const Json manifest, ReadManifest(folder));
  Checkpoint checkpoint;
  bool has_state = false;
  for (const auto& [name, entry] : manifest["files"].items()) {
    DS_ASSIGN_OR_RETURN(std::string bytes, ReadVerified(folder, name, entry));
    if (name == kState) {
      checkpoint.state_json = std::move(bytes);
      has_state = true;
    } else if (absl::EndsWith(name, kTensorSuffix)) {
      auto owner = std::make_shared<std::string>(std::move(bytes));
      const absl::string_view view = *owner;
      DS_ASSIGN_OR_RETURN(checkpoint.tensors[name.substr(0, name.size() - std::size(kTensorSuffix) + 1)],
                          ParseSafetensors(view, absl::StrCat(folder, "/", name), owner));
    }
  }
  if (!has_state) return absl::DataLossError(absl::StrCat(folder, "/", kManifest, " is damaged: it names no ", kState));
  return checkpoint;
}

absl::StatusOr<std::string> LatestCheckpoint(const std::string& root) {
  for (const std::string& folder : List(root, kPrefix)) {
    const absl::Status status = ReadCheckpoint(folder).status();
    if (status.ok()) return folder;
    Log(LogLevel::kWarning, absl::StrCat("skipping ", folder, ": ", status.message()));
  }
  return absl::NotFoundError(absl::StrCat("there is no complete checkpoint under ", root));
}

}  // namespace ds
