// The multiple-choice knapsack: one item of each group, light enough together, as cheap as can be
// (Kellerer, Pferschy, Pisinger, "Knapsack Problems", 2004, chapter 11). Solved exactly: dynamic
// programming over the weights and costs that no other combination beats, states cut off by the
// bound of the Lagrangian relaxation. Bits are given to layers by it, under a budget of bytes or of
// error.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ds {

// Both finite and >= 0; whole numbers are exact up to 2^53.
struct KnapsackItem {
  double weight = 0;
  double cost = 0;
};

struct Packing {
  std::vector<int> chosen;  // an item of each group, by its index
  double weight = 0;        // added up in the order of the groups, as is the cost
  double cost = 0;
  // No packing costs less than this. Equal to `cost` where the search was complete, which it is
  // unless more than `most_states` combinations remained that neither another one nor the bound
  // rules out; what is returned then is the relaxation's solution, improved greedily.
  double least_cost = 0;
};

// The same input gives the same result on every machine. InvalidArgument for a group without items
// or a number out of range (which); NotFound where even the lightest items weigh more than
// `capacity`.
absl::StatusOr<Packing> SolveKnapsack(absl::Span<const std::vector<KnapsackItem>> groups,
                                      double capacity, int64_t most_states = 1 << 22);

}  // namespace ds
