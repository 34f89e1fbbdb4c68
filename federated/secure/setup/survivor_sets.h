// Survivor sets that are almost alike: the difference of two sums over them shows almost only the
// updates of the sites in which they differ.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace ds::federated::secure {

struct SurvivorSet {
  int64_t round = 0;
  std::vector<std::string> sites;  // sorted
};

// What is wrong with `set` beside earlier ones of which it differs in 1..`least` sites; empty where
// there are none.
std::string CloseSet(absl::Span<const SurvivorSet> earlier, const SurvivorSet& set, int64_t least);

}  // namespace ds::federated::secure
