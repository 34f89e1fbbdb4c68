// The range whose quantised distribution diverges least from the distribution that was seen, after
// Migacz, "8-bit inference with TensorRT" (GTC 2017), with its gaps filled: docs/calibration.md
// says which.
//
// A candidate range is [from, to) in bins. P is the histogram with what lies outside added to the
// outermost bins inside that hold anything; Q has each code's share of what lies inside spread
// evenly over those of the code's bins that hold anything. Then with c the counts of P, C and m
// the sum and the number of bins of a code,
//
//   N KL = sum c log c - sum_codes C_P log(C_Q / m) + N log(N_inside / N)
//
// which prefix sums give in time proportional to the number of codes, not of bins. Spikes
// (quant/ranges/spikes.h) are not in c: what stands out is a symbol of its own, at its place in
// both P and Q, for rounding hardly moves it. It counts among what is clipped and in N.
#include <algorithm>
#include <cmath>
#include <vector>

#include "quant/ranges/range_methods.h"
#include "quant/ranges/spikes.h"

namespace ds {
namespace {

constexpr int kRounds = 10;  // at most, of high alone, then low alone; two or three settle it

double TimesLog(double c) { return c > 0 ? c * std::log(c) : 0; }

class Search {
 public:
  Search(const BinDensity& density, const QuantType& type)
      : density_(density), type_(type), all_(1), sum_(1), sum_log_(1), filled_(1) {
    const std::vector<double> spikes = SpikeExcess(density.counts);
    for (int i = 0; i < density.bins(); ++i) {
      const double c = density.counts[i] - spikes[i];
      counts_.push_back(c);
      all_.push_back(all_.back() + density.counts[i]);
      sum_.push_back(sum_.back() + c);
      sum_log_.push_back(sum_log_.back() + TimesLog(c));
      filled_.push_back(filled_.back() + (c > 0));
      if (c > 0) places_.push_back(i);
    }
    least_ = std::min(0, -density.zero);
    greatest_ = std::max(0, density.bins() - density.zero);
  }

  // Bins are counted from 0, negative below it. The widest range, and whether bin i holds anything.
  int least() const { return least_; }
  int greatest() const { return greatest_; }
  bool Filled(int i) const {
    const int place = i + density_.zero;
    return place >= 0 && place < density_.bins() && density_.counts[place] > 0;
  }
  int candidates() const { return candidates_; }

  // from <= 0 <= to, with a bin between them that holds something.
  double Divergence(int from, int to) {
    ++candidates_;
    const int first = Place(from), last = Place(to);
    const double inside = all_[last] - all_[first];
    const double all = density_.nonzero;
    const double below = all_[first], above = all - all_[last];
    const int low_bin = places_[filled_[first]], high_bin = places_[filled_[last] - 1];
    const auto clipped_into = [&](int begin, int end) {
      return (low_bin >= begin && low_bin < end ? below : 0) +
             (high_bin >= begin && high_bin < end ? above : 0);
    };

    double sum = sum_log_[last] - sum_log_[first];
    const auto add_clipped = [&](int bin) {
      const double c = counts_[bin];
      sum += TimesLog(c + clipped_into(bin, bin + 1)) - TimesLog(c);
    };
    add_clipped(low_bin);
    if (high_bin != low_bin) add_clipped(high_bin);

    const Grid grid = GridOf(from, to);
    int begin = first;
    for (int code = grid.low; begin < last; ++code) {
      // The code's bins are those whose middles are nearest to it; the last code has all the rest.
      const double edge = std::ceil((code + 0.5) * grid.step - 0.5);
      const int end = code >= grid.high ? last : std::clamp(PlaceAt(edge), begin, last);
      const int bins = filled_[end] - filled_[begin];
      if (bins > 0) {
        const double mass = sum_[end] - sum_[begin];
        sum -= (mass + clipped_into(begin, end)) * std::log(mass / bins);
      }
      begin = end;
    }
    sum += all * std::log(inside / all);
    return sum / all;
  }

 private:
  // Codes less the zero point, and bins a code.
  struct Grid {
    int low, high;
    double step;
  };

  Grid GridOf(int from, int to) const {
    if (type_.is_signed) return {-type_.max(), type_.max(), double(to) / type_.max()};
    const double step = double(to - from) / type_.max();
    const int zero_point = static_cast<int>(std::nearbyint(-from / step));
    return {-zero_point, type_.max() - zero_point, step};
  }

  int PlaceAt(double bin) const {
    return static_cast<int>(std::clamp(bin + density_.zero, 0.0, double(density_.bins())));
  }
  int Place(int bin) const { return std::clamp(bin + density_.zero, 0, density_.bins()); }

  const BinDensity& density_;
  const QuantType& type_;
  std::vector<double> counts_;  // without spikes
  // Of the bins before place i (zero is the place of bin 0): counts with spikes, counts without
  // them, c log c of these, how many hold anything; and the places of those that do.
  std::vector<double> all_, sum_, sum_log_;
  std::vector<int> filled_, places_;
  int least_ = 0, greatest_ = 0;
  int candidates_ = 0;
};

RangeChoice Symmetric(const BinDensity& density, const QuantType& type) {
  Search search(density, type);
  RangeChoice best = WholeRange(density, type);
  const int widest = std::max(-search.least(), search.greatest());
  double least = search.Divergence(-widest, widest);
  for (int limit = widest - 1; limit >= type.max(); --limit) {
    // A limit after an empty bin clips what the one before it clips, in wider steps.
    if (!search.Filled(limit - 1) && !search.Filled(-limit)) continue;
    const double divergence = search.Divergence(-limit, limit);
    if (divergence >= least) continue;
    least = divergence;
    best.high = limit * density.width;
    best.low = -best.high;
  }
  best.candidates = search.candidates();
  return best;
}

RangeChoice Asymmetric(const BinDensity& density, const QuantType& type) {
  Search search(density, type);
  int from = search.least(), to = search.greatest();
  double least = search.Divergence(from, to);
  for (int round = 0; round < kRounds; ++round) {
    const int from_before = from, to_before = to;
    for (int end = search.greatest(); end > 0 && end - from >= type.max(); --end) {
      if (!search.Filled(end - 1)) continue;
      const double divergence = search.Divergence(from, end);
      if (divergence >= least) continue;
      least = divergence;
      to = end;
    }
    for (int begin = search.least(); begin < 0 && to - begin >= type.max(); ++begin) {
      if (!search.Filled(begin)) continue;
      const double divergence = search.Divergence(begin, to);
      if (divergence >= least) continue;
      least = divergence;
      from = begin;
    }
    if (from == from_before && to == to_before) break;
  }
  RangeChoice best = WholeRange(density, type);
  if (from > search.least()) best.low = from * density.width;
  if (to < search.greatest()) best.high = to * density.width;
  best.candidates = search.candidates();
  return best;
}

}  // namespace

RangeChoice KlRange(const BinDensity& density, const QuantType& type) {
  return type.is_signed ? Symmetric(density, type) : Asymmetric(density, type);
}

}  // namespace ds
