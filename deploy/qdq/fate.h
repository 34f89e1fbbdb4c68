// Predicts, node by node, what ONNX Runtime computes with integers.
#pragma once

#include <vector>

#include "deploy/qdq/options.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/weights.h"
#include "graph/graph.h"

namespace ds::qdq {

// Of the graph as Prepare leaves it; nodes whose first result is not floating point are left out.
std::vector<NodeFate> FatesOf(const Graph& graph, const QuantPlan& plan, const Placement& placement,
                              const WeightPlan& weights, const QdqOptions& options);

}  // namespace ds::qdq
