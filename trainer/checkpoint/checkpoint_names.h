// Names in a folder of checkpoints, and in a checkpoint's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ds {

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kStateFile[] = "state.json";
inline constexpr char kTensorSuffix[] = ".safetensors";

// Not yet complete: what a killed writer leaves is nobody's.
inline constexpr char kWritingPrefix[] = ".writing-";
// On its way out, perhaps no longer complete.
inline constexpr char kRemovingPrefix[] = ".removing-";
// Complete: makes way for another of the same step, and stands in for it until that is there.
inline constexpr char kReplacedPrefix[] = ".replaced-";

inline constexpr int64_t kMaxCheckpointStep = 999'999'999'999;

// "step-000000001234".
std::string CheckpointName(int64_t step);
bool IsCheckpointName(absl::string_view name);
// A file's or folder's path.
std::string Inside(absl::string_view folder, absl::string_view name);

// Paths of the checkpoints under `root`, newest step first. Of a step that is being replaced, or
// whose writer was stopped at that, the one replaced comes right after the new one.
std::vector<std::string> CheckpointFolders(const std::string& root);

}  // namespace ds
