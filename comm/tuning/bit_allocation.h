// One choice for each layer under a budget over all: L-GreCo (Alimohammadi, Markov, Frantar,
// Alistarh, "L-GreCo: layerwise-adaptive gradient compression for efficient and accurate deep
// learning", MLSys 2024), a knapsack solved by dynamic programming.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ds {

struct LayerChoice {
  int64_t bytes = 0;  // what the layer travels as, >= 0
  double error = 0;   // squared l2 error that it costs, finite and >= 0
};
// At least one choice.
using LayerChoices = std::vector<LayerChoice>;

// For each layer the index of its choice, such that the errors add up to at most `error_budget` and
// the bytes are fewest. Errors are counted in steps of 1/kBudgetSteps of the budget, rounded up:
// the budget is kept, and what is found is as good as the best under a budget less by one step a
// layer. Equal input gives equal output on every machine. NotFound if even the least errors exceed
// the budget; InvalidArgument for a layer without choices or a number that is none.
absl::StatusOr<std::vector<int>> FewestBytes(absl::Span<const LayerChoices> layers,
                                             double error_budget);

// The same with the roles exchanged: the least error in at most `byte_budget` bytes.
absl::StatusOr<std::vector<int>> LeastError(absl::Span<const LayerChoices> layers,
                                            int64_t byte_budget);

inline constexpr int kBudgetSteps = 10000;

}  // namespace ds
