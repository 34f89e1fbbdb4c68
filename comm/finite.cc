#include "comm/finite.h"

#include <algorithm>
#include <bit>
#include <cstdint>

namespace ds {

bool AllFinite(absl::Span<const float> values) {
  constexpr uint32_t kMagnitude = 0x7fffffffu;
  constexpr uint32_t kInfinity = 0x7f800000u;
  // Magnitudes of floats order like integers: the largest tells. A NaN is above infinity.
  uint32_t largest = 0;
  for (const float value : values)
    largest = std::max(largest, std::bit_cast<uint32_t>(value) & kMagnitude);
  return largest < kInfinity;
}

}  // namespace ds
