#include "data/sets/label_count.h"

#include "absl/strings/str_cat.h"

namespace ds {

std::string LabelCount::Note(absl::string_view origin) const {
  // Two samples of a large set tell nothing.
  constexpr int64_t kFewest = 2;
  if (different_ < kFewest || 2 * different_ >= classes_) return "";
  return absl::StrCat(
      origin, ": sample ", first_highest_, " has label ", classes_ - 1, ", so there are ", classes_,
      " classes, but only ", different_,
      " of them have samples; if that label is a mistake, mend it, if it stands for "
      "no class, give the samples one or leave them out");
}

}  // namespace ds
