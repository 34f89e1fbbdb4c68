// Is every value finite? One pass over the exponents, at memory speed.
#pragma once

#include "absl/types/span.h"

namespace ds {

bool AllFinite(absl::Span<const float> values);

}  // namespace ds
