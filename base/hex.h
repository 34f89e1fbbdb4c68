// Names in hexadecimal digits, as hashes and serial numbers are written.
#pragma once

#include <algorithm>

#include "absl/strings/string_view.h"

namespace ds {

// Lower-case digits only; true for none.
inline bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

inline bool IsSha256Hex(absl::string_view text) { return text.size() == 64 && IsLowerHex(text); }

}  // namespace ds
