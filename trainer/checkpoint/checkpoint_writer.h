// A checkpoint on its way: a folder that does not yet bear its name, into which one process or
// several put files. It becomes a checkpoint in one step, or nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/safetensors.h"
#include "trainer/checkpoint/manifest.h"

namespace ds {

// Writes <folder>/<stem>.safetensors, synced, and tells what the manifest is to say of it. Any
// process.
absl::StatusOr<ManifestEntry> WriteTensorFile(const std::string& folder, absl::string_view stem,
                                              const TensorMap& tensors);
// The same where the file's bytes came from another process.
absl::StatusOr<ManifestEntry> WriteCheckpointFile(const std::string& folder,
                                                  absl::string_view file_name,
                                                  absl::string_view bytes);

// One process has it.
class CheckpointWriter {
 public:
  // Puts in order what a killed writer left in `root`, which is made if it is not there, and opens
  // an empty folder. InvalidArgument for a step outside 0..kMaxCheckpointStep.
  static absl::StatusOr<std::unique_ptr<CheckpointWriter>> Begin(const std::string& root,
                                                                 int64_t step);
  // Not committed: the folder goes, as if it had never been.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Where files are put until Commit.
  const std::string& folder() const { return folder_; }

  absl::Status AddTensors(const std::string& stem, const TensorMap& tensors);
  // The text of a JSON object.
  absl::Status AddState(const std::string& json);
  // Files that others have put there. Commit looks whether they are there.
  void AddWritten(const Manifest& files) { manifest_.insert(files.begin(), files.end()); }

  // Once, last: the manifest, then the name, then all but the `keep` newest go (never this one).
  // On an error the earlier ones are as they were, unless it was `root` that could not be synced:
  // then this one, complete, may be there as well.
  absl::Status Commit(int64_t keep);

 private:
  CheckpointWriter(std::string root, std::string name);
  absl::Status CheckFiles() const;
  absl::Status Publish();
  void RemoveOlder(int64_t keep) const;

  const std::string root_, name_, folder_;
  Manifest manifest_;
  bool published_ = false;
};

}  // namespace ds
