// What known_ints.cc follows through comparisons, logic and reductions of small integers.
#pragma once

#include <optional>
#include <vector>

#include "graph/schema/schema.h"

namespace ds {

// The elements of the node's output, given those of its inputs (nullopt: nothing is known of one).
// nullopt for operators that this file does not follow, and where the output's extent is open.
std::optional<std::vector<int64_t>> EvaluateLogic(
    const InferenceContext& context,
    const std::vector<std::optional<std::vector<int64_t>>>& operands);

}  // namespace ds
