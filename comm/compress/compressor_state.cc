#include "comm/compress/compressor_state.h"

#include <algorithm>
#include <tuple>
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

// The worker residuals of all states, added in double in the order of the states.
absl::StatusOr<std::map<std::string, std::vector<double>>> SumOfWorkers(
    absl::Span<const CompressorState> states) {
  std::map<std::string, std::vector<double>> sums;
  for (const CompressorState& state : states) {
    for (const auto& [key, values] : state) {
      DS_ASSIGN_OR_RETURN(const ParsedKey parsed, ParseKey(key));
      if (parsed.kind != kWorkerResidual) continue;
      std::vector<double>& sum = sums[std::string(parsed.name)];
      const size_t first = static_cast<size_t>(parsed.first_element);
      sum.resize(std::max(sum.size(), first + values.size()));
      for (size_t i = 0; i < values.size(); ++i) sum[first + i] += values[i];
    }
  }
  return sums;
}

// Everything but worker residuals: owners' from all states, the rest, equal everywhere, from the
// first.
absl::StatusOr<CompressorState> SharedPart(absl::Span<const CompressorState> states) {
  CompressorState shared;
  std::map<std::string, std::map<int64_t, int64_t>>
      owned;  // of each parameter: the ranges [first, second) owned
  for (size_t s = 0; s < states.size(); ++s) {
    for (const auto& [key, values] : states[s]) {
      DS_ASSIGN_OR_RETURN(const ParsedKey parsed, ParseKey(key));
      if (parsed.kind == kWorkerResidual || (parsed.kind != kOwnerResidual && s != 0)) continue;
      shared[key] = values;
      if (parsed.kind != kOwnerResidual || values.empty()) continue;
      std::map<int64_t, int64_t>& ranges = owned[std::string(parsed.name)];
      const int64_t end = parsed.first_element + static_cast<int64_t>(values.size());
      const auto next = ranges.lower_bound(parsed.first_element);
      if ((next != ranges.end() && next->first < end) ||
          (next != ranges.begin() && std::prev(next)->second > parsed.first_element)) {
        return absl::InvalidArgumentError(absl::StrCat("two ranks own the same elements of ",
                                                       parsed.name, ": ", key, " of state ", s,
                                                       " overlaps another"));
      }
      ranges[parsed.first_element] = end;
    }
  }
  return shared;
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

absl::StatusOr<std::vector<CompressorState>> RedistributeResiduals(
    absl::Span<const CompressorState> states, int new_contributors) {
  if (states.empty() || new_contributors < 1) {
    return absl::InvalidArgumentError(
        "residuals are redistributed from at least one contributor to at least one");
  }
  DS_ASSIGN_OR_RETURN(const CompressorState shared, SharedPart(states));
  std::vector<CompressorState> result(static_cast<size_t>(new_contributors), shared);
  if (result.size() == states.size()) {
    for (size_t r = 0; r < states.size(); ++r) result[r].insert(states[r].begin(), states[r].end());
    // insert keeps what is there; another rank's factors, equal to the first's, are not added
    // twice.
    return result;
  }
  DS_ASSIGN_OR_RETURN(const auto sums, SumOfWorkers(states));
  for (const auto& [name, sum] : sums) {
    std::vector<float> part(sum.size());
    for (size_t i = 0; i < sum.size(); ++i) part[i] = static_cast<float>(sum[i] / new_contributors);
    for (CompressorState& state : result) state[StateKey(kWorkerResidual, name, 0)] = part;
  }
  return result;
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
