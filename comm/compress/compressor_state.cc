#include "comm/compress/compressor_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

struct ParsedKey {
  absl::string_view kind;
  absl::string_view name;
  int64_t first_element = 0;
};

absl::StatusOr<ParsedKey> ParseKey(absl::string_view key) {
  const size_t slash = key.find('/'), at = key.rfind('@');
  ParsedKey parsed;
  if (slash == absl::string_view::npos || at == absl::string_view::npos || at < slash ||
      !absl::SimpleAtoi(key.substr(at + 1), &parsed.first_element) || parsed.first_element < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", key, "' is no key of a compressor's state (KIND/NAME@FIRST)"));
  }
  parsed.kind = key.substr(0, slash);
  parsed.name = key.substr(slash + 1, at - slash - 1);
  return parsed;
}

}  // namespace

std::string StateKey(absl::string_view kind, absl::string_view name, int64_t first_element) {
  return absl::StrCat(kind, "/", name, "@", first_element);
}

absl::StatusOr<bool> FillFromState(const CompressorState& state, absl::string_view kind,
                                   absl::string_view name, int64_t first_element,
                                   absl::Span<float> into) {
  std::fill(into.begin(), into.end(), 0.0f);
  bool found = false;
  const int64_t end = first_element + static_cast<int64_t>(into.size());
  const std::string prefix = absl::StrCat(kind, "/", name, "@");
  for (auto entry = state.lower_bound(prefix);
       entry != state.end() && entry->first.rfind(prefix, 0) == 0; ++entry) {
    DS_ASSIGN_OR_RETURN(const ParsedKey parsed, ParseKey(entry->first));
    if (parsed.name != name) continue;  // another name that goes on with an @
    const int64_t entry_end = parsed.first_element + static_cast<int64_t>(entry->second.size());
    const int64_t from = std::max(first_element, parsed.first_element),
                  to = std::min(end, entry_end);
    if (to <= from) continue;
    std::copy_n(entry->second.begin() + (from - parsed.first_element), to - from,
                into.begin() + (from - first_element));
    found = true;
  }
  return found;
}

absl::Status ResidualSum::AddOwned(absl::string_view key, absl::string_view name, int64_t first,
                                   const std::vector<float>& values) {
  if (values.empty()) return absl::OkStatus();
  std::map<int64_t, int64_t>& ranges = owned_[std::string(name)];
  const int64_t end = first + static_cast<int64_t>(values.size());
  const auto next = ranges.lower_bound(first);
  if ((next != ranges.end() && next->first < end) ||
      (next != ranges.begin() && std::prev(next)->second > first)) {
    return absl::InvalidArgumentError(absl::StrCat("two ranks own the same elements of ", name,
                                                   ": ", key, " of contributor ", added_,
                                                   " overlaps another"));
  }
  ranges[first] = end;
  return absl::OkStatus();
}

absl::Status ResidualSum::Add(const CompressorState& contributor) {
  for (const auto& [key, values] : contributor) {
    DS_ASSIGN_OR_RETURN(const ParsedKey parsed, ParseKey(key));
    if (parsed.kind == kWorkerResidual) {
      std::vector<double>& sum = workers_[std::string(parsed.name)];
      const size_t first = static_cast<size_t>(parsed.first_element);
      sum.resize(std::max(sum.size(), first + values.size()));
      for (size_t i = 0; i < values.size(); ++i) sum[first + i] += values[i];
    } else if (parsed.kind == kOwnerResidual) {
      DS_RETURN_IF_ERROR(AddOwned(key, parsed.name, parsed.first_element, values));
      shared_[key] = values;
    } else if (added_ == 0) {
      shared_[key] = values;
    }
  }
  ++added_;
  return absl::OkStatus();
}

CompressorState ResidualSum::PartOf(int contributors) const {
  CompressorState part = shared_;
  for (const auto& [name, sum] : workers_) {
    std::vector<float>& values = part[StateKey(kWorkerResidual, name, 0)];
    for (const double value : sum) values.push_back(static_cast<float>(value / contributors));
  }
  return part;
}

absl::StatusOr<CompressorState> MergeStates(absl::Span<const CompressorState> states) {
  CompressorState merged;
  for (const CompressorState& state : states) {
    for (const auto& [key, values] : state) {
      const auto [entry, added] = merged.insert({key, values});
      if (!added && entry->second != values) {
        return absl::InvalidArgumentError(absl::StrCat("two states to be merged differ in ", key));
      }
    }
  }
  return merged;
}

}  // namespace ds
