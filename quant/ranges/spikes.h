// Values that come again and again, as a histogram shows them: a layer that reads a flat background
// gives the same number at every place of it. Internal to quant/.
#pragma once

#include <vector>

#include "absl/types/span.h"

namespace ds {

// A spike is one bin, or two next to each other on average, with more than this many times what the
// fuller of the nearest filled bins on either side holds (and more than so many values).
inline constexpr double kSpikeRatio = 8;

// Of each bin, how much stands out: a spike's counts less those of that neighbour, and 0 for all
// other bins. `counts`: of successive bins, >= 0.
std::vector<double> SpikeExcess(absl::Span<const double> counts);

}  // namespace ds
