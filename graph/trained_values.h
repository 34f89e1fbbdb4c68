// What trains and what does not: said in words, and chosen by patterns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

// 1234567 -> "1,234,567".
std::string GroupedDigits(int64_t number);

// "19,050 values in 13 tensors train, 65,544 in 3 are frozen: conv.weight, n.bias, mask": a line
// without its end. Frozen are floating-point initialisers of more than one element that an operator
// reads and that do not train, the largest named first, ten at most; a batch norm's running
// statistics, which follow the data, and quantisation's scales are not counted.
std::string TrainedValuesText(const Graph& graph);

// Initialisers whose name matches one of `freeze` no longer train, then those that match one of
// `train` do ("*" is any text, "?" any character, "[...]" one of these). InvalidArgument, naming
// the key `model.freeze` or `model.train`: a pattern that no initialiser of the kind matches (with
// the nearest name), or one that would train what holds NaN or Inf, whose first name is given. Not
// of the kind are integers, a batch norm's running statistics and quantisation's operands.
absl::Status ChooseTrained(Graph& graph, const std::vector<std::string>& freeze,
                           const std::vector<std::string>& train);

}  // namespace ds
