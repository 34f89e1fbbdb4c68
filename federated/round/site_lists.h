// Sorted lists of sites, and how decisions say them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

// Of two sites each would know the other's update from the sum.
inline constexpr int64_t kLeastRoster = 3;

inline std::vector<std::string> Without(const std::vector<std::string>& all,
                                        const std::set<std::string>& some) {
  std::vector<std::string> left;
  std::set_difference(all.begin(), all.end(), some.begin(), some.end(), std::back_inserter(left));
  return left;
}

inline std::vector<std::string> Both(const std::vector<std::string>& all,
                                     const std::set<std::string>& some) {
  std::vector<std::string> both;
  std::set_intersection(all.begin(), all.end(), some.begin(), some.end(), std::back_inserter(both));
  return both;
}

// "3 sites".
inline std::string Count(int64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

// "; missing: a, b and 5 more"; nothing for none.
inline std::string Named(absl::string_view before, const std::vector<std::string>& sites) {
  constexpr size_t kShown = 8;
  if (sites.empty()) return "";
  const auto end = sites.begin() + static_cast<ptrdiff_t>(std::min(sites.size(), kShown));
  std::string text = absl::StrCat("; ", before, " ", absl::StrJoin(sites.begin(), end, ", "));
  if (sites.size() > kShown) absl::StrAppend(&text, " and ", sites.size() - kShown, " more");
  return text;
}

}  // namespace ds::federated
