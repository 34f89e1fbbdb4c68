#include "trainer/checkpoint/checkpoint_reader.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "trainer/checkpoint/checkpoint_names.h"

namespace ds {

absl::StatusOr<std::string> ReadCheckpointFile(const std::string& folder,
                                               const std::string& file_name,
                                               const ManifestEntry& entry) {
  const std::string path = Inside(folder, file_name);
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

absl::StatusOr<TensorMap> ReadTensorFile(const std::string& folder, const std::string& stem,
                                         const ManifestEntry& entry) {
  const std::string name = stem + kTensorSuffix;
  DS_ASSIGN_OR_RETURN(std::string bytes, ReadCheckpointFile(folder, name, entry));
  auto owner = std::make_shared<std::string>(std::move(bytes));
  return ParseSafetensors(*owner, Inside(folder, name), owner);
}

absl::StatusOr<CheckpointReader> CheckpointReader::Open(const std::string& folder) {
  const std::string path = Inside(folder, kManifestFile);
  if (!IsFolder(folder))
    return absl::NotFoundError(absl::StrCat("there is no checkpoint folder ", folder));
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok())
    return absl::DataLossError(absl::StrCat(path, " cannot be read: ", text.status().message()));
  DS_ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(*text, path));
  if (!manifest.contains(kStateFile)) {
    return absl::DataLossError(absl::StrCat(path, " is damaged: it does not name ", kStateFile));
  }
  return CheckpointReader(folder, std::move(manifest));
}

std::vector<std::string> CheckpointReader::stems() const {
  std::vector<std::string> stems;
  for (const auto& [name, entry] : manifest_) {
    absl::string_view stem = name;
    if (absl::ConsumeSuffix(&stem, kTensorSuffix)) stems.emplace_back(stem);
  }
  return stems;
}

absl::StatusOr<std::string> CheckpointReader::State() const {
  return ReadCheckpointFile(folder_, kStateFile, manifest_.at(kStateFile));
}

absl::StatusOr<TensorMap> CheckpointReader::Tensors(const std::string& stem) const {
  const auto entry = manifest_.find(stem + kTensorSuffix);
  if (entry == manifest_.end()) {
    return absl::NotFoundError(
        absl::StrCat("the checkpoint ", folder_, " has no ", stem, kTensorSuffix));
  }
  return ReadTensorFile(folder_, stem, entry->second);
}

}  // namespace ds
