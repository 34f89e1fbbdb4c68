// Cross-layer equalisation: scales channels between two layers so that each spans the same range in
// both, with the network's function unchanged. After Nagel et al., "Data-Free Quantization Through
// Weight Equalization and Bias Correction" (ICCV 2019), section 4.1.
//
// Where f is positively homogeneous (Relu: f(s x) = s f(x) for s > 0) and works on each channel
// alone, dividing output channel i of the first layer (weights and bias) by s_i and multiplying
// input channel i of the second by s_i changes nothing. With
//   s_i = sqrt(r1_i / r2_i),  r1_i = max |W1[i, :]|,  r2_i = max |W2[:, i]|
// both ranges become sqrt(r1_i * r2_i). Pairs that share a layer (a depthwise convolution between
// two pointwise ones) are swept until no scale moves.
//
// It helps whatever has one scale for many channels: activations, and weights with one scale for
// the tensor. Weights with a scale for each output channel gain in the second layer only.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

struct EqualizationOptions {
  int most_sweeps = 200;    // over all pairs, >= 1
  double tolerance = 1e-6;  // stops when no s_i of a sweep is further than this from 1; > 0
};

struct EqualizedPair {
  std::string first;  // names of the two nodes
  std::string second;
};

struct EqualizationReport {
  std::vector<EqualizedPair> pairs;  // in the order of the first nodes
  // Second layers that could not be paired, with the reason: "conv2: behind a Clip".
  std::vector<std::string> skipped;
  int sweeps = 0;
  bool converged = true;
};

// Rewrites weights and biases of `graph`, an inference graph with its batch norms folded; the
// names of initialisers stay. Pairs are Conv or Gemm (alpha, beta 1, A not transposed), then any
// number of Relu, LeakyRelu, MaxPool, AveragePool, GlobalAveragePool and Identity, then Conv or
// Gemm, where every value between is read once and is no output of the graph, and where weights and
// biases are float32 constants that nothing else reads. A Clip is not homogeneous (Relu6's bound
// would become another for each channel), so pairs with one between are skipped. A channel that is
// 0 in either layer keeps its scale. InvalidArgument: an option out of range, or a weight that
// holds NaN or Inf (its name).
absl::StatusOr<EqualizationReport> EqualizeLayers(Graph& graph,
                                                  const EqualizationOptions& options = {});

}  // namespace ds
