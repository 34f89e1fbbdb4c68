#include "quant/ranges/spikes.h"

#include <algorithm>

namespace ds {

std::vector<double> SpikeExcess(absl::Span<const double> counts) {
  std::vector<double> excess(counts.size(), 0);
  std::vector<size_t> filled;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) filled.push_back(i);
  }
  const auto at = [&](size_t place) { return counts[filled[place]]; };
  // Of the filled bins on either side of those at `place` and the `more` behind it.
  const auto beside = [&](size_t place, size_t more) {
    const double before = place > 0 ? at(place - 1) : 0;
    const double behind = place + more + 1 < filled.size() ? at(place + more + 1) : 0;
    return std::max({before, behind, 1.0});
  };
  const auto lower = [&](size_t place, double to) {
    double& above = excess[filled[place]];
    above = std::max(above, at(place) - to);
  };
  for (size_t i = 0; i < filled.size(); ++i) {
    if (const double level = beside(i, 0); at(i) > kSpikeRatio * level) lower(i, level);
    // A constant that rounding scatters over the edge between two bins.
    if (i + 1 == filled.size() || filled[i + 1] != filled[i] + 1) continue;
    const double level = beside(i, 1);
    const bool stands_out = at(i) + at(i + 1) > 2 * kSpikeRatio * level;
    if (!stands_out || std::min(at(i), at(i + 1)) <= 2 * level) continue;
    lower(i, level);
    lower(i + 1, level);
  }
  return excess;
}

}  // namespace ds
