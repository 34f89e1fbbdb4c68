// A checkpoint is a folder: written under another name, synced, checksummed and renamed.
//
//   <root>/step-000000001234/
//     model.safetensors  optimizer.safetensors  [ema.safetensors]  [extra tensors]
//     state.json
//     manifest.json       format version; size and SHA-256 of every file
//
// docs/checkpoint.md has it byte by byte. It holds all that the next step depends on. Here one
// process writes and reads all of it; checkpoint_writer.h and checkpoint_reader.h are for several
// that share the work, each with files of its own.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "base/tensor/safetensors.h"

namespace ds {

struct Checkpoint {
  // File stem -> tensors by name ("model", "optimizer", "ema").
  std::map<std::string, TensorMap> tensors;
  // Free-form JSON text (object): epoch, step, seeds, scaler, schedule, best metric, config hash,
  // world size.
  std::string state_json = "{}";
};

// Writes <root>/step-<step> and then removes all but the `keep` newest (never the one just
// written). On an error the earlier ones are as they were.
absl::Status WriteCheckpoint(const std::string& root, int64_t step, const Checkpoint& checkpoint,
                             int64_t keep);
// Verifies the manifest, sizes and hashes. DataLoss naming file and fault; NotFound if there is
// none.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& folder);

}  // namespace ds
