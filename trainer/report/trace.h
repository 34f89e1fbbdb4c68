// trace.json: what ran when, in the Chrome trace format (chrome://tracing, ui.perfetto.dev).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace ds {

// One interval. Microseconds of one steady clock for all events of a file.
struct TraceEvent {
  std::string name;
  std::string track;  // a line of its own: "compute", "exchange"
  int64_t start_us = 0;
  int64_t end_us = 0;
};

// The file's text. Tracks are numbered in the order they first appear; times are shifted so that
// the first event starts at 0. `process` names the group of lines ("rank 0").
std::string ChromeTraceJson(absl::Span<const TraceEvent> events, const std::string& process);
// Written atomically.
absl::Status WriteChromeTrace(const std::string& path, absl::Span<const TraceEvent> events,
                              const std::string& process);

// Share of the time on `hidden` that runs while something on `behind` runs too, 0..1; 0 if `hidden`
// is empty. Overlapping events of one track count once.
double OverlapShare(absl::Span<const TraceEvent> events, const std::string& hidden,
                    const std::string& behind);

}  // namespace ds
