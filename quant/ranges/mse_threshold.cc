// The range of least expected squared error. The error is no convex function of the range (values
// meet codes or miss them), so it is evaluated on a geometric grid, then on a finer one about the
// best.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/functional/function_ref.h"
#include "quant/ranges/range_methods.h"

namespace ds {
namespace {

constexpr int kOctaves = 12;     // of the grid: down to where one bin is left
constexpr int kCoarse = 16;      // ranges an octave
constexpr int kFine = 16;        // times as many about the best
constexpr int kRounds = 2;       // of low alone, then high alone
constexpr int kZeroPoints = 16;  // zero points tried before that, and one more
constexpr int kCoarsest = 8;     // ranges an octave for each of them

class Search {
 public:
  Search(const BinDensity& density, const QuantType& type) : density_(density), type_(type) {}

  // Tries range(f) for fractions f of the grid and keeps the best of all that were ever tried.
  void Try(absl::FunctionRef<RangeChoice(double)> range) {
    const double start = std::exp2(-BestStep(range, kCoarse) / double{kCoarse});
    for (int i = 1 - kFine; i < kFine; ++i) {
      const double fraction = start * std::exp2(i / double{kCoarse * kFine});
      if (i != 0 && fraction <= 1) Error(range(fraction));
    }
  }
  void TryCoarsely(absl::FunctionRef<RangeChoice(double)> range) { BestStep(range, kCoarsest); }

  RangeChoice best() const {
    RangeChoice best = best_;
    best.candidates = candidates_;
    return best;
  }

 private:
  // The step i whose fraction 2^(-i / steps_an_octave) has the least error.
  int BestStep(absl::FunctionRef<RangeChoice(double)> range, int steps_an_octave) {
    double best = std::numeric_limits<double>::infinity();
    int best_step = 0;
    for (int i = 0; i <= kOctaves * steps_an_octave; ++i) {
      const double error = Error(range(std::exp2(-i / double(steps_an_octave))));
      if (error >= best) continue;
      best = error;
      best_step = i;
    }
    return best_step;
  }

  double Error(const RangeChoice& range) {
    ++candidates_;
    const absl::StatusOr<QuantParams> params =
        ParamsForRange(type_, static_cast<float>(range.low), static_cast<float>(range.high));
    const double error = density_.SquaredError(*params);
    if (error < best_error_) {
      best_error_ = error;
      best_ = range;
    }
    return error;
  }

  const BinDensity& density_;
  const QuantType& type_;
  RangeChoice best_;
  double best_error_ = std::numeric_limits<double>::infinity();
  int candidates_ = 0;
};

}  // namespace

RangeChoice MseRange(const BinDensity& density, const QuantType& type) {
  const RangeChoice whole = WholeRange(density, type);
  Search search(density, type);
  search.Try([&](double f) { return RangeChoice{.low = whole.low * f, .high = whole.high * f}; });
  if (type.is_signed || whole.low == 0 || whole.high == 0) return search.best();

  // Both ends are free, which is to say scale and zero point. First the zero points, all of them at
  // 4 bits and below, each with its scales; a range is moved where it would leave the data.
  const double span = whole.high - whole.low;
  for (int i = 0; i <= kZeroPoints; ++i) {
    const double share = std::nearbyint(i * type.max() / double{kZeroPoints}) / type.max();
    search.TryCoarsely([&](double f) {
      double low = std::max(-share * span * f, whole.low);
      low = std::min({low, whole.high - span * f, 0.0});
      return RangeChoice{.low = low, .high = std::clamp(low + span * f, 0.0, whole.high)};
    });
  }
  // Then from the best each end in turn.
  for (int round = 0; round < kRounds; ++round) {
    const double high = search.best().high;
    search.Try([&](double f) { return RangeChoice{.low = whole.low * f, .high = high}; });
    const double low = search.best().low;
    search.Try([&](double f) { return RangeChoice{.low = low, .high = whole.high * f}; });
  }
  return search.best();
}

}  // namespace ds
