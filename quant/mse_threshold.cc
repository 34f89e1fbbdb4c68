// The range of least expected squared error. The error is no convex function of the range (values
// meet codes or miss them), so it is evaluated on a geometric grid, then on a finer one about the
// best.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/functional/function_ref.h"
#include "quant/range_methods.h"

namespace ds {
namespace {

constexpr int kOctaves = 12;  // of the grid: down to where one bin is left
constexpr int kCoarse = 16;   // ranges an octave
constexpr int kFine = 16;     // times as many about the best
constexpr int kRounds = 2;    // of low alone, then high alone

class Search {
 public:
  Search(const BinDensity& density, const QuantType& type) : density_(density), type_(type) {}

  // Tries range(f) for fractions f of the grid and keeps the best of all that were ever tried.
  void Try(absl::FunctionRef<RangeChoice(double)> range) {
    double best = std::numeric_limits<double>::infinity();
    int best_step = 0;
    const auto at = [&](int step) {
      const double error = Error(range(std::exp2(-step / double{kCoarse * kFine})));
      if (error >= best) return;
      best = error;
      best_step = step;
    };
    for (int i = 0; i <= kOctaves * kCoarse; ++i) at(i * kFine);
    const int middle = best_step;
    for (int i = 1; i < kFine; ++i) {
      at(middle + i);
      if (middle >= i) at(middle - i);
    }
  }

  RangeChoice best() const {
    RangeChoice best = best_;
    best.candidates = candidates_;
    return best;
  }

 private:
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
  // Both ends are free: each in turn.
  for (int round = 0; round < kRounds; ++round) {
    const double high = search.best().high;
    search.Try([&](double f) { return RangeChoice{.low = whole.low * f, .high = high}; });
    const double low = search.best().low;
    search.Try([&](double f) { return RangeChoice{.low = low, .high = whole.high * f}; });
  }
  return search.best();
}

}  // namespace ds
