// What a model's output has gone through: a loss of logits must not be given probabilities.
#pragma once

#include <string>

#include "graph/graph.h"

namespace ds {

enum class OutputActivation { kNone, kSoftmax, kLogSoftmax, kSigmoid };

struct OutputEnd {
  OutputActivation activation = OutputActivation::kNone;
  std::string node;  // its name, or for kNone that of the last node that computes
  std::string op;    // of that node; empty where the output is an input
};

// Looks back from output `index` over operators that move or round values (Reshape, Cast,
// QuantizeLinear, ...). Softmax behind a Log is a LogSoftmax.
OutputEnd FindOutputEnd(const Graph& graph, size_t index = 0);

}  // namespace ds
