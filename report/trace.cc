#include "report/trace.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "report/json_text.h"

namespace ds {
namespace {

// A name for a rank ("process_name") or one of its tracks ("thread_name").
std::string NameEvent(const char* kind, int rank, int track, const std::string& name) {
  JsonObject arguments, event;
  arguments.Add("name", name);
  event.Add("ph", "M");
  event.Add("name", kind);
  event.Add("pid", int64_t{rank});
  event.Add("tid", int64_t{track});
  event.AddJson("args", arguments.ToString());
  return event.ToString();
}

}  // namespace

std::string TraceOfRank(int rank, absl::Span<const TraceSpan> spans, int64_t origin_us) {
  std::string lines = NameEvent("process_name", rank, 0, absl::StrCat("rank ", rank));
  std::map<std::string, int> tracks;
  for (const TraceSpan& span : spans) {
    const int next = static_cast<int>(tracks.size());
    if (tracks.emplace(span.track, next).second) {
      absl::StrAppend(&lines, ",\n", NameEvent("thread_name", rank, next, span.track));
    }
    JsonObject json;
    json.Add("ph", "X");
    json.Add("name", span.name);
    json.Add("pid", int64_t{rank});
    json.Add("tid", int64_t{tracks[span.track]});
    json.Add("ts", span.start_us - origin_us);
    json.Add("dur", std::max<int64_t>(span.end_us - span.start_us, 0));
    absl::StrAppend(&lines, ",\n", json.ToString());
  }
  return lines;
}

absl::Status WriteTrace(const std::string& path, absl::Span<const std::string> parts) {
  return WriteFileAtomically(path,
                             absl::StrCat("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n",
                                          absl::StrJoin(parts, ",\n"), "\n]}\n"));
}

}  // namespace ds
