// What a detector finds.
#pragma once

#include <cstdint>

namespace ds {

// Corners in pixels, the first one the upper left; of the network's input or of the picture, as who
// makes it says.
struct Box {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  float score = 0;
  int64_t label = 0;
};

}  // namespace ds
