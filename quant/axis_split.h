// A row-major tensor as [outer, extent, inner] about one of its axes. Internal to quant/.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace ds {

struct AxisSplit {
  int64_t outer = 1, extent = 1, inner = 1;
};

// 0 <= axis < shape.size().
inline AxisSplit SplitAt(absl::Span<const int64_t> shape, int axis) {
  AxisSplit split;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i)
    (i < axis ? split.outer : i == axis ? split.extent : split.inner) *= shape[i];
  return split;
}

}  // namespace ds
