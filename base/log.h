// One-line messages for people, on stderr: "warning: rank 1: ...". Programs set rank and threshold
// once at start.
#pragma once

#include "absl/strings/string_view.h"

namespace ds {

enum class LogLevel { kInfo, kWarning, kError };

// Messages below `threshold` are dropped; a rank of -1 is not shown. Thread-safe.
void SetUpLog(LogLevel threshold, int rank);
void Log(LogLevel level, absl::string_view message);

}  // namespace ds
