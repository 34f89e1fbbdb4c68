// How many columns of a terminal a text takes. Not by wcwidth(), which knows only what the
// process's locale says, and programs here keep "C".
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ds {

// Columns of UTF-8 text: combining marks take none, East Asian wide characters and emoji two, a
// malformed byte one.
int DisplayWidth(absl::string_view text);
// The longest start of `text` that takes at most `columns`; never cuts a character.
std::string ClipToWidth(absl::string_view text, int columns);
// `text` in lines of at most `columns` (>= 1): broken at blanks, which then go, and within a word
// only where it is longer than a line. Never cuts a character; at least one line.
std::vector<std::string> WrapToWidth(absl::string_view text, int columns);
// Clipped or filled with blanks on the right (left if `right`) to exactly `columns`.
std::string PadToWidth(absl::string_view text, int columns, bool right = false);

}  // namespace ds
