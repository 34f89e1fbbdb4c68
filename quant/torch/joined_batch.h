// Samples that came in several batches, as one.
#pragma once

#include <vector>

#include "ATen/core/Tensor.h"
#include "graph/graph.h"
#include "quant/torch/floating/output_noise.h"

namespace ds {

// One tensor for each of the graph's inputs, samples along the first axis: of the batches that are
// like the first one. Empty where there are none, or more than a graph of a fixed first axis takes.
std::vector<at::Tensor> JoinedBatch(const Graph& graph, const InputBatches& batches);

}  // namespace ds
