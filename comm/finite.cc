#include "comm/finite.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

namespace ds {

bool AllFinite(absl::Span<const float> values) {
  return AllBelow(values, std::numeric_limits<float>::infinity());
}

bool AllBelow(absl::Span<const float> values, float limit) {
  constexpr uint32_t kMagnitude = 0x7fffffffu;
  // Magnitudes of floats order like integers: the largest tells. A NaN is above infinity.
  uint32_t largest = 0;
  for (const float value : values)
    largest = std::max(largest, std::bit_cast<uint32_t>(value) & kMagnitude);
  return largest < std::bit_cast<uint32_t>(limit);
}

}  // namespace ds
