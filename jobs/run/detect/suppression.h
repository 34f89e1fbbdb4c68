// Non-maximum suppression: of boxes that lie on each other the one with the highest score stays.
#pragma once

#include <cstddef>
#include <vector>

#include "jobs/run/detect/box.h"

namespace ds {

struct SuppressionOptions {
  float iou = 0.45F;  // intersection over union above which the lower score goes, in [0, 1]
  bool across_labels = false;  // boxes of different labels, too
  int64_t most_kept = 300;     // boxes, those with the highest scores
  // Only so many with the highest scores are compared: the time is quadratic.
  int64_t most_compared = 30000;
};

// Intersection over union in single precision, as ONNX's NonMaxSuppression has it; 0 where a box
// has no area.
float IntersectionOverUnion(const Box& a, const Box& b);

// Greedily from the highest score on; equal scores in the order in which they come. The highest
// score first. The result for one label is that of ONNX's NonMaxSuppression (opset 11).
std::vector<Box> Suppress(std::vector<Box> boxes, const SuppressionOptions& options);

}  // namespace ds
