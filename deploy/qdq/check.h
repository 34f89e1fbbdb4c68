// A plan against the graph it is for, before anything is changed.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds::qdq {

// InvalidArgument for the first name that does not fit; says how. Shapes must be inferred.
absl::Status CheckPlan(const Graph& graph, const QuantPlan& plan);

}  // namespace ds::qdq
