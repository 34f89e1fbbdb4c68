// How good a detector's boxes are on pictures whose boxes are known: average precision (Everingham
// et al. 2010; recall sampled at 101 points as COCO's evaluation has it).
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/types/span.h"
#include "jobs/run/detect/box.h"

namespace ds {

class AveragePrecision {
 public:
  // A found box is right where it overlaps a true one of its label, not matched by a better one,
  // by at least this intersection over union.
  explicit AveragePrecision(float least_iou = 0.5F) : least_iou_(least_iou) {}

  // Of one picture. True boxes need no score.
  void Add(absl::Span<const Box> found, absl::Span<const Box> truth);

  // Of each label that has true boxes, in [0, 1].
  std::map<int64_t, double> OfLabels() const;
  // Their mean; 0 where there are none.
  double Mean() const;
  int64_t true_boxes() const;

 private:
  struct Found {
    float score;
    bool right;
  };
  struct Label {
    std::vector<Found> found;
    int64_t truth = 0;
  };

  const float least_iou_;
  std::map<int64_t, Label> labels_;
};

}  // namespace ds
