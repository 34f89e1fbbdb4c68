// A checkpoint's files, one by one: each is read and hashed once, by whoever needs it, against what
// the manifest says of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/safetensors.h"
#include "trainer/checkpoint/manifest.h"

namespace ds {

// The bytes of <folder>/<file_name>. DataLoss, naming file and fault, unless they are what `entry`
// says.
absl::StatusOr<std::string> ReadCheckpointFile(const std::string& folder,
                                               const std::string& file_name,
                                               const ManifestEntry& entry);
// The same for a file of tensors.
absl::StatusOr<TensorMap> ReadTensorFile(const std::string& folder, const std::string& stem,
                                         const ManifestEntry& entry);

class CheckpointReader {
 public:
  // Reads and verifies the manifest alone. DataLoss; NotFound if there is no such folder.
  static absl::StatusOr<CheckpointReader> Open(const std::string& folder);

  const std::string& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  // Stems of the files of tensors.
  std::vector<std::string> stems() const;

  absl::StatusOr<std::string> State() const;
  // NotFound if the manifest names no such file.
  absl::StatusOr<TensorMap> Tensors(const std::string& stem) const;

 private:
  CheckpointReader(std::string folder, Manifest manifest)
      : folder_(std::move(folder)), manifest_(std::move(manifest)) {}

  std::string folder_;
  Manifest manifest_;
};

}  // namespace ds
