// trace.json: what ran when on each rank, in the Chrome trace format (chrome://tracing,
// ui.perfetto.dev).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace ds {

// One interval, microseconds of a steady clock.
struct TraceSpan {
  std::string name;
  std::string track;  // a line of its own: "compute", "exchange"
  int64_t start_us = 0;
  int64_t end_us = 0;
};

// One rank's part of the file, as text: process `rank` with its spans on tracks that are numbered
// in the order they first appear. `origin_us` becomes the file's 0.
std::string TraceOfRank(int rank, absl::Span<const TraceSpan> spans, int64_t origin_us);

// The whole file from its parts, written atomically.
absl::Status WriteTrace(const std::string& path, absl::Span<const std::string> parts);

}  // namespace ds
