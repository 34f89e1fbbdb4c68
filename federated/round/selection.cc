#include "federated/round/selection.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/random.h"

namespace ds::federated {

int64_t SelectionSize(const RoundOptions& options, int64_t present, int64_t maximum) {
  int64_t size = options.goal > 0 ? options.goal + options.spare : present;
  if (options.sample < 1) {
    size = std::min(size, static_cast<int64_t>(std::ceil(options.sample * present)));
  }
  size = std::max(size, options.minimum);
  return std::min({size, present, maximum});
}

std::vector<std::string> SelectSites(uint64_t seed, int64_t round, std::vector<std::string> present,
                                     int64_t count) {
  constexpr uint32_t kStream = 0x5E1EC7;  // apart from other draws under the run's seed
  CounterRandom random(seed, static_cast<uint64_t>(round), kStream);
  const auto size = static_cast<int64_t>(present.size());
  count = std::min(count, size);
  if (count < size) {
    for (int64_t i = 0; i < count; ++i) {
      std::swap(present[i], present[i + random.NextBelow(static_cast<uint32_t>(size - i))]);
    }
    present.resize(count);
  }
  std::sort(present.begin(), present.end());
  return present;
}

}  // namespace ds::federated
