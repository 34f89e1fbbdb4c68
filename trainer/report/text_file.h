// Small text files of a run's folder, written so that a reader sees the old one or the new one,
// never half of it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ds {

// Writes `path` beside its final name, syncs it and renames. The error names the file and has the
// system's words.
absl::Status WriteTextAtomically(const std::string& path, absl::string_view text);

}  // namespace ds
