// Gives a classifier another number of classes, for fine-tuning.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

// Finds the layer that computes the only output (Gemm, MatMul with or without Add, or a 1x1 Conv;
// Softmax, Dropout, one number that all are multiplied or divided by, pools and shape operators in
// between are passed over, and a Reshape that writes the classes out is changed with them) and, if
// it does not give `classes` outputs, puts new trainable weights in its place: uniform in
// 1/sqrt(fan-in), from `seed` and the weights' names. Shapes are inferred again. InvalidArgument
// names the node at which the search ended; the graph is then as it was.
absl::Status ReplaceClassifier(Graph& graph, int64_t classes, uint64_t seed);

}  // namespace ds
