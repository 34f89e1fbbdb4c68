// Is every value finite? One pass over the exponents, at memory speed.
#pragma once

#include "absl/types/span.h"

namespace ds {

bool AllFinite(absl::Span<const float> values);
// Is every magnitude below `limit`, which is above 0? A NaN never is.
bool AllBelow(absl::Span<const float> values, float limit);

}  // namespace ds
