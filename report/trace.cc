#include "report/trace.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file/file.h"
#include "report/json.h"

namespace ds {
namespace {

// A name for a rank ("process_name") or one of its tracks ("thread_name").
std::string NameEvent(const char* kind, int rank, int track, const std::string& name) {
  return JsonText(
      {{"ph", "M"}, {"name", kind}, {"pid", rank}, {"tid", track}, {"args", {{"name", name}}}}, -1);
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
    const int64_t duration = std::max<int64_t>(span.end_us - span.start_us, 0);
    absl::StrAppend(&lines, ",\n",
                    JsonText({{"ph", "X"},
                              {"name", span.name},
                              {"pid", rank},
                              {"tid", tracks[span.track]},
                              {"ts", span.start_us - origin_us},
                              {"dur", duration}},
                             -1));
  }
  return lines;
}

absl::Status WriteTrace(const std::string& path, absl::Span<const std::string> parts) {
  return WriteFileAtomically(path,
                             absl::StrCat("{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n",
                                          absl::StrJoin(parts, ",\n"), "\n]}\n"));
}

}  // namespace ds
