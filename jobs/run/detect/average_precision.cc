#include "jobs/run/detect/average_precision.h"

#include <algorithm>

#include "jobs/run/detect/suppression.h"

namespace ds {

void AveragePrecision::Add(absl::Span<const Box> found, absl::Span<const Box> truth) {
  for (const Box& box : truth) ++labels_[box.label].truth;
  std::vector<Box> sorted(found.begin(), found.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Box& a, const Box& b) { return a.score > b.score; });
  std::vector<bool> taken(truth.size(), false);
  for (const Box& box : sorted) {
    size_t best = truth.size();
    float overlap = least_iou_;
    for (size_t i = 0; i < truth.size(); ++i) {
      if (taken[i] || truth[i].label != box.label) continue;
      const float iou = IntersectionOverUnion(box, truth[i]);
      if (iou < overlap || (best < truth.size() && iou == overlap)) continue;
      best = i;
      overlap = iou;
    }
    if (best < truth.size()) taken[best] = true;
    labels_[box.label].found.push_back({box.score, best < truth.size()});
  }
}

std::map<int64_t, double> AveragePrecision::OfLabels() const {
  constexpr int kPoints = 100;  // recalls of 0, 1/100, ... 1
  std::map<int64_t, double> result;
  for (const auto& [label, boxes] : labels_) {
    if (boxes.truth == 0) continue;
    std::vector<Found> found = boxes.found;
    std::stable_sort(found.begin(), found.end(),
                     [](const Found& a, const Found& b) { return a.score > b.score; });
    std::vector<double> precision;
    std::vector<int64_t> right;
    for (const Found& box : found) {
      right.push_back((right.empty() ? 0 : right.back()) + (box.right ? 1 : 0));
      precision.push_back(static_cast<double>(right.back()) / static_cast<double>(right.size()));
    }
    // At each recall the best precision of that recall or a higher one.
    for (size_t i = precision.size(); i-- > 1;)
      precision[i - 1] = std::max(precision[i - 1], precision[i]);
    double sum = 0;
    size_t at = 0;
    for (int point = 0; point <= kPoints; ++point) {
      while (at < right.size() && right[at] * kPoints < point * boxes.truth) ++at;
      if (at < right.size()) sum += precision[at];
    }
    result[label] = sum / (kPoints + 1);
  }
  return result;
}

double AveragePrecision::Mean() const {
  double sum = 0;
  const std::map<int64_t, double> all = OfLabels();
  for (const auto& [label, precision] : all) sum += precision;
  return all.empty() ? 0 : sum / static_cast<double>(all.size());
}

int64_t AveragePrecision::true_boxes() const {
  int64_t count = 0;
  for (const auto& [label, boxes] : labels_) count += boxes.truth;
  return count;
}

}  // namespace ds
