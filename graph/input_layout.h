// How a network takes its pictures.
#pragma once

#include "graph/graph.h"

namespace ds {

enum class InputLayout {
  kChannelsFirst,  // [N, C, H, W], also of an input that is no picture
  kChannelsLast,   // [N, H, W, C], as TensorFlow's and Paddle's exporters leave it
};

// Channels last: an input of four extents that is turned to [N, C, H, W] before an operator with
// windows reads it (only arithmetic with constants and casts in between), or whose last extent
// alone is a number of channels (1, 3 or 4) where nothing says otherwise. Shapes need not be
// inferred.
InputLayout LayoutOfInput(const Graph& graph, ValueId input);

}  // namespace ds
