#include "trainer/report/trace.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "trainer/report/json_text.h"

namespace ds {
namespace {

using Intervals = std::vector<std::pair<int64_t, int64_t>>;

// The union of a track's events, sorted and disjoint.
Intervals BusyTimes(absl::Span<const TraceEvent> events, const std::string& track) {
  Intervals all;
  for (const TraceEvent& event : events) {
    if (event.track == track && event.end_us > event.start_us) {
      all.emplace_back(event.start_us, event.end_us);
    }
  }
  std::sort(all.begin(), all.end());
  Intervals merged;
  for (const auto& [start, end] : all) {
    if (!merged.empty() && start <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, end);
    } else {
      merged.emplace_back(start, end);
    }
  }
  return merged;
}

// A name for a process (track < 0) or one of its tracks.
std::string NameEvent(int track, const std::string& name) {
  JsonObject arguments, event;
  arguments.Add("name", name);
  event.Add("ph", "M");
  event.Add("name", track < 0 ? "process_name" : "thread_name");
  event.Add("pid", int64_t{0});
  event.Add("tid", int64_t{std::max(track, 0)});
  event.AddJson("args", arguments.ToString());
  return event.ToString();
}

}  // namespace

std::string ChromeTraceJson(absl::Span<const TraceEvent> events, const std::string& process) {
  std::string lines = NameEvent(-1, process);
  std::map<std::string, int> tracks;
  int64_t origin = events.empty() ? 0 : events[0].start_us;
  for (const TraceEvent& event : events) {
    origin = std::min(origin, event.start_us);
    const int next = static_cast<int>(tracks.size());
    if (tracks.emplace(event.track, next).second) {
      absl::StrAppend(&lines, ",\n", NameEvent(next, event.track));
    }
  }
  for (const TraceEvent& event : events) {
    JsonObject json;
    json.Add("ph", "X");
    json.Add("name", event.name);
    json.Add("pid", int64_t{0});
    json.Add("tid", int64_t{tracks[event.track]});
    json.Add("ts", event.start_us - origin);
    json.Add("dur", std::max<int64_t>(event.end_us - event.start_us, 0));
    absl::StrAppend(&lines, ",\n", json.ToString());
  }
  return absl::StrCat("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n", lines, "\n]}\n");
}

absl::Status WriteChromeTrace(const std::string& path, absl::Span<const TraceEvent> events,
                              const std::string& process) {
  return WriteFileAtomically(path, ChromeTraceJson(events, process));
}

double OverlapShare(absl::Span<const TraceEvent> events, const std::string& hidden,
                    const std::string& behind) {
  const Intervals busy = BusyTimes(events, behind);
  int64_t total = 0, covered = 0;
  for (const auto& [start, end] : BusyTimes(events, hidden)) {
    total += end - start;
    for (const auto& [from, to] : busy) {
      covered += std::max<int64_t>(std::min(end, to) - std::max(start, from), 0);
    }
  }
  return total > 0 ? static_cast<double>(covered) / static_cast<double>(total) : 0;
}

}  // namespace ds
