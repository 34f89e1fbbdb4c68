// How far one name is from another, for messages that say which known name was probably meant. Our
// own: no library that we need has it in public.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ds {

// Single-character edits from `a` to `b`: insert, delete, replace, and swap of two neighbours (the
// restricted Damerau-Levenshtein distance). Time is the product of the lengths.
size_t EditDistance(absl::string_view a, absl::string_view b);

// The one of `names` nearest to `wanted` (the first of equals), or "" where none is near enough to
// have been meant: a third of the letters and one more may differ.
std::string NearestName(absl::string_view wanted, const std::vector<std::string>& names);

}  // namespace ds
