// How a network takes its pictures.
#pragma once

#include "graph/graph.h"

namespace ds {

enum class InputLayout {
  kChannelsFirst,  // [N, C, H, W]
  kChannelsLast,   // [N, H, W, C], as TensorFlow's and Paddle's exporters leave it
  kUnknown,        // nothing says, or it is no picture
};

// Channels last: an input of four extents that is turned to [N, C, H, W] before an operator with
// windows reads it (only arithmetic with constants and casts in between); first: one that such an
// operator reads as it is, or that is turned otherwise. Extents are no evidence: 32 channels of
// three columns are a picture too. Shapes need not be inferred.
InputLayout LayoutOfInput(const Graph& graph, ValueId input);

}  // namespace ds
