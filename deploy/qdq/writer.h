// Puts QuantizeLinear and DequantizeLinear nodes where a placement wants them.
#pragma once

#include "absl/status/statusor.h"
#include "deploy/qdq/options.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/weights.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds::qdq {

// `graph` as Prepare leaves it; `placement` and `weights` are of this graph. Values keep their
// names for what is dequantised.
absl::StatusOr<Graph> WriteQdq(Graph graph, const QuantPlan& plan, const Placement& placement,
                               const WeightPlan& weights, const QdqOptions& options);

}  // namespace ds::qdq
