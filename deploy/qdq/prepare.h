// What a float graph goes through before QuantizeLinear nodes are put into it.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds::qdq {

struct Prepared {
  Graph graph;  // shapes inferred
  // The plan's, under the names that values have in `graph`.
  std::map<std::string, QuantParams> activations;
};

// Dropout and Identity go, and what was planned for their result or their input holds for the one
// value that is left; ReduceMean over all spatial axes becomes GlobalAveragePool, with a Flatten
// behind it where the axes are dropped, since ONNX Runtime has no integer ReduceMean.
absl::StatusOr<Prepared> Prepare(const Graph& folded, const QuantPlan& plan);

}  // namespace ds::qdq
