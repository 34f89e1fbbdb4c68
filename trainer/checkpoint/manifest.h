// A checkpoint's table of contents: size and SHA-256 of every file, and a SHA-256 of itself, so
// that one flipped bit anywhere in the folder is found. The format is in docs/checkpoint.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds {

struct ManifestEntry {
  uint64_t bytes = 0;
  std::string sha256;  // 64 lower-case hexadecimal digits
};

// By file name: letters, digits, '_', '-' and '.', not starting with '.'.
using Manifest = std::map<std::string, ManifestEntry>;

bool IsCheckpointFileName(absl::string_view name);
std::string RenderManifest(const Manifest& manifest);
// DataLoss naming `path` unless every bit is as RenderManifest wrote it; Unimplemented for a later
// version of the format.
absl::StatusOr<Manifest> ParseManifest(absl::string_view text, absl::string_view path);

}  // namespace ds
