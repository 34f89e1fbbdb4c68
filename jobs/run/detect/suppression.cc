#include "jobs/run/detect/suppression.h"

#include <algorithm>

namespace ds {

float IntersectionOverUnion(const Box& a, const Box& b) {
  const float width = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  const float height = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (!(width > 0) || !(height > 0)) return 0;
  const float common = width * height;
  const float area_a = (a.x1 - a.x0) * (a.y1 - a.y0), area_b = (b.x1 - b.x0) * (b.y1 - b.y0);
  return common / (area_a + area_b - common);
}

std::vector<Box> Suppress(std::vector<Box> boxes, const SuppressionOptions& options) {
  std::stable_sort(boxes.begin(), boxes.end(),
                   [](const Box& a, const Box& b) { return a.score > b.score; });
  if (static_cast<int64_t>(boxes.size()) > options.most_compared)
    boxes.resize(static_cast<size_t>(options.most_compared));
  std::vector<Box> kept;
  for (const Box& box : boxes) {
    if (static_cast<int64_t>(kept.size()) >= options.most_kept) break;
    const bool hidden = std::any_of(kept.begin(), kept.end(), [&](const Box& better) {
      return (options.across_labels || better.label == box.label) &&
             IntersectionOverUnion(better, box) > options.iou;
    });
    if (!hidden) kept.push_back(box);
  }
  return kept;
}

}  // namespace ds
