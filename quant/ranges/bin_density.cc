#include "quant/ranges/bin_density.h"

#include <algorithm>

#include "base/check.h"

namespace ds {
namespace {

// An end bin is never narrower than this share of a bin, so that a density is finite even where all
// its values are the least or the greatest.
constexpr double kLeastShare = 1.0 / 1024;

// 1.5 * 2^52: RoundHalfToEven in double (see affine.cc). Beyond 2^51 clamping corrects it.
constexpr double kRoundingShift = 6755399441055744.0;

// Integral of (t - Q(t))^2 from 0 to u, where Q takes t to the nearest integer in [low, high].
// The cells 0..r add 1/12 each (the first and last their halves), the rest (u - r)^3 / 3; where u
// is beyond the last code r stays, and the cube is the error of clipping.
inline double ErrorIntegral(double u, double low, double high) {
  double r = u < low ? low : u;
  r = r > high ? high : r;
  r = (r + kRoundingShift) - kRoundingShift;
  const double rest = u - r;
  return r * (1.0 / 12) + rest * rest * rest * (1.0 / 3);
}

}  // namespace

BinDensity::BinDensity(const Histogram& histogram)
    : width(histogram.bin_width()), zeros(static_cast<double>(histogram.zeros())) {
  constexpr int kBins = Histogram::kBins;
  const auto count_at = [&](int i) {  // i in -kBins..kBins - 1, the lower edge in widths
    return i < 0 ? histogram.negative()[-1 - i] : histogram.positive()[i];
  };
  int first = -kBins, last = kBins - 1;
  while (first <= last && count_at(first) == 0) ++first;
  while (first < last && count_at(last) == 0) --last;
  DS_CHECK(first <= last) << "a histogram without a value other than 0";
  zero = -first;
  for (int i = first; i <= last; ++i) {
    edges.push_back(i * width);
    counts.push_back(static_cast<double>(count_at(i)));
    nonzero += counts.back();
  }
  edges.push_back((last + 1) * width);

  // min() may be a zero where no value is negative: then the bin's own edge is the best known.
  const double low = histogram.min() != 0 ? histogram.min() : edges.front();
  const double high = histogram.max() != 0 ? histogram.max() : edges.back();
  edges.front() = low;
  edges.back() = high;
  const double least = std::min(width * kLeastShare, (high - low) / 4);
  if (bins() > 1) {
    double& after_first = edges[1];
    after_first = std::max(after_first, low + least);
    double& before_last = edges[edges.size() - 2];
    before_last = std::min(before_last, high - least);
  }
  for (int i = 0; i < bins(); ++i) density.push_back(counts[i] / (edges[i + 1] - edges[i]));
}

double BinDensity::Quantile(double share) const {
  double below = share * nonzero;
  for (int i = 0; i < bins(); ++i) {
    if (below <= counts[i] && counts[i] > 0)
      return edges[i] + (edges[i + 1] - edges[i]) * (below / counts[i]);
    below -= counts[i];
  }
  return edges.back();
}

double BinDensity::CountOutside(double low, double high) const {
  double outside = 0;
  for (int i = 0; i < bins(); ++i) {
    const double from = edges[i], to = edges[i + 1];
    if (from >= low && to <= high) continue;
    const double inside = std::max(0.0, std::min(to, high) - std::max(from, low));
    outside += to > from ? counts[i] * (1 - inside / (to - from)) : counts[i];
  }
  return outside;
}

double BinDensity::SquaredError(const QuantParams& params) const {
  const double scale = params.scales[0];
  const double low = params.type.min() - params.zero_points[0];
  const double high = params.type.max() - params.zero_points[0];
  const int n = bins();
  if (n == 1 && edges[0] == edges[1]) {
    // One value: an integral over nothing, divided by nothing.
    const double u = edges[0] / scale;
    const double code = std::clamp((u + kRoundingShift) - kRoundingShift, low, high);
    return counts[0] * scale * scale * (u - code) * (u - code);
  }
  const double inverse = 1 / scale;
  const auto error = [&](int i) {
    return density[i] * (ErrorIntegral(edges[i + 1] * inverse, low, high) -
                         ErrorIntegral(edges[i] * inverse, low, high));
  };
  // Four sums side by side: what a vector unit does, said in C++.
  constexpr int kLanes = 4;
  double sums[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += error(i + lane);
  }
  for (; i < n; ++i) sums[0] += error(i);
  const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  // Rounding may leave a little less than nothing.
  return std::max(0.0, sum) * scale * scale * scale;
}

}  // namespace ds
