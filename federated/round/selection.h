// Who takes part in a round: a pure function, so that a restarted aggregator, and whoever reads the
// log, finds the same sites.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "federated/options/options.h"

namespace ds::federated {

// Sites that a round of `present` ones selects: goal + spare (goal 0: all), no more than the sample
// where that is below 1, at most `maximum`, at least the minimum as far as there are so many.
int64_t SelectionSize(const RoundOptions& options, int64_t present, int64_t maximum);

// `count` of `present`, both sorted; each subset equally likely (a partial Fisher-Yates shuffle
// whose draws are keyed by seed and round).
std::vector<std::string> SelectSites(uint64_t seed, int64_t round, std::vector<std::string> present,
                                     int64_t count);

}  // namespace ds::federated
