// Moves the spread of a layer norm's channels into the matrices that read it, with the network's
// function unchanged: an activation has one scale for all channels, a matrix's rows do not lose by
// it. After Xiao et al., "SmoothQuant" (ICML 2023), section 4, with the norm's own parameters in
// the place of measured activations: a normalised channel j spans about |beta_j| + 4 |gamma_j|.
//
//   gamma_j / s_j, beta_j / s_j, W[j, :] * s_j   with   s_j = sqrt(range_j / max |W[j, :]|)
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace ds {

struct MigratedNorm {
  std::string norm;   // name of its node
  double spread = 1;  // of the scales s_j: the largest over the median, or that over the least
};

// Of the LayerNormalizations over the last axis whose result only Gemm and MatMul read, as their
// first operand and with constant matrices that nothing else reads; Reshapes that keep the last
// axis may lie between. Scale, bias and weights are float32 constants; a channel whose range or row
// is 0 stays. Shapes must be inferred. The graph changes, names stay. In the order of the nodes.
std::vector<MigratedNorm> MigrateNorms(Graph& graph);

// The greatest spread that MigrateNorms would find; 1 without such norms.
double NormSpread(const Graph& graph);

}  // namespace ds
