// Scaling and shifting the channels of a convolution's or a matrix product's result by its weight
// and bias: what batch norms and constants behind it are folded with. Private to the passes.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace ds {

// y = scale * (x + before) + after, one number for each channel.
struct ChannelAffine {
  std::vector<double> scale, before, after;
};

// The constant if it is one of float32, else nullptr.
const Tensor* FloatConstant(const Graph& graph, ValueId id);

// Weight, and bias if there is one, are float32 constants.
bool HasConstantWeights(const Graph& graph, const Node& conv);

// Scale, bias, mean and variance are float32 constants.
bool HasConstantStatistics(const Graph& graph, const Node& norm);

// Of a BatchNormalization at inference that HasConstantStatistics.
ChannelAffine AffineOfNorm(const Graph& graph, const Node& norm);

// Of an Add, Sub, Mul or Div of `x` and a constant that is the same for all but the `channels`
// along `axis`; x has `rank` axes. Nothing where it is no such node.
std::optional<ChannelAffine> AffineOfConstant(const Graph& graph, const Node& node, ValueId x,
                                              int64_t channels, int rank, int axis);

// Folds `affine` into a Conv or Gemm that HasConstantWeights, in double precision; it writes
// `result` then. New initialisers, since others may read the old ones; a weight that is not scaled
// stays.
void FoldAffine(Graph& graph, Node& node, const ChannelAffine& affine, ValueId result);

}  // namespace ds
