// Scaling and shifting a convolution's channels by its weight and bias: what batch norms and
// constants behind it are folded with. Private to the passes.
#pragma once

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

// Folds `affine` into a convolution that HasConstantWeights, in double precision; it writes
// `result` then. New initialisers, since others may read the old ones.
void FoldAffine(Graph& graph, Node& conv, const ChannelAffine& affine, ValueId result);

}  // namespace ds
