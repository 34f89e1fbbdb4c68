// "did you mean": the known name nearest to what somebody typed.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ds {

// "; did you mean 'momentum'?" where a known name is near enough to be what was meant, else "".
std::string Suggestion(absl::string_view typed, const std::vector<std::string>& known);

}  // namespace ds
