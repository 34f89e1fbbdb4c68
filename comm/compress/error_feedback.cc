#include "comm/compress/error_feedback.h"

#include <utility>

#include "base/status.h"

namespace ds {

int ErrorFeedback::Add(absl::string_view kind, std::string name, int64_t first_element,
                       int64_t count) {
  ranges_.push_back({std::string(kind), std::move(name), first_element, count, {}, {}});
  return static_cast<int>(ranges_.size()) - 1;
}

void ErrorFeedback::Allocate() {
  for (Range& range : ranges_) {
    range.current.assign(static_cast<size_t>(range.count), 0.0f);
    range.pending.assign(static_cast<size_t>(range.count), 0.0f);
  }
}

void ErrorFeedback::Commit() {
  for (Range& range : ranges_) range.current.swap(range.pending);
}

void ErrorFeedback::Export(CompressorState& state) const {
  for (const Range& range : ranges_) {
    if (!range.current.empty())
      state[StateKey(range.kind, range.name, range.first_element)] = range.current;
  }
}

absl::Status ErrorFeedback::Import(const CompressorState& state) {
  for (Range& range : ranges_) {
    std::vector<float> values(static_cast<size_t>(range.count));
    DS_ASSIGN_OR_RETURN(
        const bool found,
        FillFromState(state, range.kind, range.name, range.first_element, absl::MakeSpan(values)));
    if (!found && range.current.empty()) continue;
    range.pending.assign(values.size(), 0.0f);
    range.current = std::move(values);
  }
  return absl::OkStatus();
}

}  // namespace ds
