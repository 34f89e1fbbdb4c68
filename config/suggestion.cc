#include "config/suggestion.h"

#include "absl/strings/str_cat.h"
#include "base/edit_distance.h"

namespace ds {

std::string Suggestion(absl::string_view typed, const std::vector<std::string>& known) {
  const std::string nearest = NearestName(typed, known);
  return nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?");
}

}  // namespace ds
