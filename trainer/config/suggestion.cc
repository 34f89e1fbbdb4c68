#include "trainer/config/suggestion.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

// Edits (insert, delete, replace, swap of neighbours) between `a` and `b`: restricted
// Damerau-Levenshtein.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = previous[j - 1] + (a[i - 1] != b[j - 1]);
      current[j] = std::min({replace, previous[j] + 1, current[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    before.swap(previous);
    previous.swap(current);
  }
  return previous[b.size()];
}

}  // namespace

std::string Suggestion(absl::string_view typed, const std::vector<std::string>& known) {
  constexpr size_t kLongestName = 64;  // nothing longer is a slip of the keyboard
  if (typed.size() > kLongestName) return "";
  const std::string* nearest = nullptr;
  size_t best = typed.size() / 3 + 2;  // at least this far away is another word
  for (const std::string& name : known) {
    const size_t distance = EditDistance(typed, name);
    if (distance < best) {
      best = distance;
      nearest = &name;
    }
  }
  return nearest == nullptr ? "" : absl::StrCat("; did you mean '", *nearest, "'?");
}

}  // namespace ds
