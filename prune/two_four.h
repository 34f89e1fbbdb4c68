// The 2:4 pattern: of any four consecutive weights along a layer's inputs two are zero, which
// sparse tensor cores (NVIDIA, from Ampere on) skip: Mishra et al., "Accelerating sparse deep
// neural networks" (2021). For a convolution the four are neighbouring input channels at the same
// output channel and pixel of the window, as TensorRT wants it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

struct TwoFourLayer {
  std::string node;
  std::string weight;
  std::string dense_because;  // empty: has the pattern now
  double magnitude_lost = 0;  // share of the weight's sum of |w| that was set to 0
};

// Along which axis a layer's weight meets its inputs, or -1 if `node` is no Conv, Gemm or MatMul
// with a constant weight.
int InputAxis(const Graph& graph, const Node& node);

// Sets the two smaller of every four |w| to 0, of equal ones the later. Layers in `keep` (nodes'
// names), grouped convolutions, inputs not a multiple of 4, and weights that several nodes read
// stay dense, with the reason. InvalidArgument, with the graph as it was: a name that is no layer,
// NaN, or no layer to which the pattern fits.
absl::StatusOr<std::vector<TwoFourLayer>> ApplyTwoFour(Graph& graph,
                                                       const std::vector<std::string>& keep = {});

}  // namespace ds
