// The middle of a few measurements.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

namespace ds {

// The upper one of the two in the middle if there are two; NaN if there is none.
inline double Median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace ds
