// Weights that two operators read in two layouts.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds::qdq {

// A weight whose scales run along an axis that holds the output channels of one reader and the
// input channels of another (Gemm with transB 1 and 0, tied embeddings) gets a copy for the latter,
// with scales of its own along the other axis, in graph and plan: what ONNX Runtime 1.32 fuses
// takes the scales for output channels whatever the axis says, and is wrong by -4 dB.
absl::Status SeparateLayouts(Graph& graph, QuantPlan& plan);

}  // namespace ds::qdq
