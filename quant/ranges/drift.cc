#include "quant/ranges/drift.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace ds {
namespace {

constexpr int kGroups = 10;
// From the lowest bin of the negative side over 0 to the highest of the positive.
constexpr size_t kCells = 2 * Histogram::kBins + 1;
constexpr size_t kZero = Histogram::kBins;

// Counts in bins of `width`, a multiple by a power of two of the histogram's own.
std::vector<int64_t> Cells(const Histogram& histogram, double width) {
  std::vector<int64_t> cells(kCells, 0);
  cells[kZero] = histogram.zeros();
  const double narrower = histogram.bin_width() / width;
  for (int i = 0; i < Histogram::kBins; ++i) {
    const auto bin =
        static_cast<size_t>(i * narrower);  // exact: a product by a power of two, rounded down
    cells[kZero + 1 + bin] += histogram.positive()[i];
    cells[kZero - 1 - bin] += histogram.negative()[i];
  }
  return cells;
}

int64_t Beyond(absl::Span<const int64_t> bins, double width, double limit) {
  int64_t count = 0;
  for (size_t i = 0; i < bins.size(); ++i) {
    if (static_cast<double>(i) * width >= limit) count += bins[i];
  }
  return count;
}

// The (calibrated, new) counts of groups.
std::vector<std::pair<int64_t, int64_t>> Group(const std::vector<int64_t>& calibrated,
                                               const std::vector<int64_t>& now, int64_t total) {
  std::vector<std::pair<int64_t, int64_t>> groups;
  std::pair<int64_t, int64_t> open = {0, 0};
  int64_t seen = 0, next = 1;  // the open group ends where `next` tenths of all have been seen
  const auto close = [&] {
    if (open.first > 0) groups.push_back(std::exchange(open, {0, 0}));
  };
  for (size_t cell = 0; cell < kCells; ++cell) {
    if (calibrated[cell] * kGroups > total) close();
    open.first += calibrated[cell];
    open.second += now[cell];
    seen += calibrated[cell];
    if (seen * kGroups < next * total) continue;
    close();
    next = seen * kGroups / total + 1;
  }
  // What is left belongs to the last group: what is beyond all calibrated values too.
  if (groups.empty()) return {open};
  groups.back().first += open.first;
  groups.back().second += open.second;
  return groups;
}

}  // namespace

Drift MeasureDrift(const Histogram& calibrated, const Histogram& now) {
  if (calibrated.count() == 0 || now.count() == 0) return {};
  const double width = std::max(calibrated.bin_width(), now.bin_width());
  const auto groups = Group(Cells(calibrated, width), Cells(now, width), calibrated.count());
  Drift drift;
  constexpr double kMore = 0.5;
  const double more = kMore * static_cast<double>(groups.size());
  for (const auto& [before, after] : groups) {
    const double p =
        (static_cast<double>(before) + kMore) / (static_cast<double>(calibrated.count()) + more);
    const double q =
        (static_cast<double>(after) + kMore) / (static_cast<double>(now.count()) + more);
    drift.stability_index += (q - p) * std::log(q / p);
  }
  // Where calibration saw one sign only, every value of the other is beyond it.
  const int64_t above = Beyond(now.positive(), now.bin_width(), std::max(0.0f, calibrated.max()));
  const int64_t below = Beyond(now.negative(), now.bin_width(), std::max(0.0f, -calibrated.min()));
  drift.outside_share = static_cast<double>(above + below) / static_cast<double>(now.count());
  return drift;
}

}  // namespace ds
