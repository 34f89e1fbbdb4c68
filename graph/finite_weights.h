// A model whose weights are lost must not pass for one: no program takes it in, no file of it is
// written.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

// InvalidArgument naming the first weight that holds NaN or Inf, and how many. Weights are
// trainable initialisers, those in an operator's parameter slots, statistics of BatchNormalization,
// and scales of quantisation. Other constants may hold what they like: the -Inf of an attention
// mask is sound.
absl::Status CheckFiniteWeights(const Graph& graph);

// No NaN and no Inf, in a tensor of any type; integers hold none.
bool AllFinite(const Tensor& tensor);

}  // namespace ds
