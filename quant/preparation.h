// What a float network goes through before its weights are chosen from.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/selection.h"

namespace ds {

// Fewer layers that compute the same at inference: constants a channel, lone batch norms and
// parallel convolutions (graph/passes/passes.h). Batch norms behind convolutions must be folded.
// `gemms`: matrices with biases too. Infers shapes; its errors are InferShapes'.
absl::Status MergeLayers(Graph& graph, bool gemms);

// Every Gemm's constant weight as [K, N], under a new name where it was [N, K]: ONNX Runtime
// multiplies by blocks of integers only where they lie along the first axis.
void WeightsByInputs(Graph& graph);

// Leaves of `selection` the weights of Gemm and MatMul with two axes, and no activations.
void KeepMatrices(const Graph& graph, QuantSelection& selection);

// The last layer's weight, if it is a matrix of 32,768 elements or more and a twentieth of all
// weights; else kNoValue.
ValueId LargeLastMatrix(const Graph& graph, const QuantSelection& selection);

// What a model has instead of float32 weights, to end a message with: "" or "; the weight ...".
std::string OtherWeights(const Graph& graph);

}  // namespace ds
