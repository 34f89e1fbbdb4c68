#include "base/edit_distance.h"

#include <algorithm>
#include <numeric>

namespace ds {

size_t EditDistance(absl::string_view a, absl::string_view b) {
  // Three rows of the table of prefixes: a swap looks two rows back.
  std::vector<size_t> older(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  std::iota(above.begin(), above.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, above[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
    older.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string NearestName(absl::string_view wanted, const std::vector<std::string>& names) {
  constexpr size_t kLongestName = 64;  // nobody mistypes more, and the table stays small
  if (wanted.size() > kLongestName) return "";
  const std::string* nearest = nullptr;
  size_t limit = wanted.size() / 3 + 2;  // as far as this is another word
  for (const std::string& name : names) {
    const size_t distance = EditDistance(wanted, name);
    if (distance < limit) {
      limit = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? "" : *nearest;
}

}  // namespace ds
