// Files of arrays by name: .npy (one, named as the file), .npz and .safetensors (any number).
// Mapped, not read: memory does not grow with them. A file must not be cut shorter meanwhile.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/arrays/npy.h"

namespace ds {

// Whether the name ends in .npy, .npz or .safetensors.
bool IsArrayFile(absl::string_view path);

// InvalidArgument for another ending, errors as of ParseNpy, ParseNpz and ReadSafetensors.
// Compressed members of a .npz are inflated into memory, up to 1 GiB.
absl::StatusOr<std::vector<StoredArray>> ReadArrayFile(const std::string& path);

// All arrays of a folder's files, in the files' order by name; hidden files and others are left
// out. InvalidArgument where a name occurs twice, with both files.
absl::StatusOr<std::vector<StoredArray>> ReadArrayFolder(const std::string& folder);

}  // namespace ds
