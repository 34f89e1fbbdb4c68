// Whether a network's depthwise convolutions want cross-layer equalisation (equalization.h).
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

// The greatest spread, over the depthwise convolutions among the pairs that EqualizeLayers would
// scale, of the scales it would give their channels: the largest over the median one. 1 without
// such pairs. What has one scale for many channels, an activation, loses about log2 of it in bits.
// Errors as EqualizeLayers'.
absl::StatusOr<double> DepthwiseSpread(const Graph& graph);

}  // namespace ds
