#include "report/plot_axis.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ds {
namespace {

// Of 1, 2, 5 and 10 times a power of ten the one nearest to `step` (> 0), as a ratio.
double RoundStep(double step) {
  const double unit = std::pow(10.0, std::floor(std::log10(step))), share = step / unit;
  return unit * (share < std::sqrt(2.0)    ? 1
                 : share < std::sqrt(10.0) ? 2
                 : share < std::sqrt(50.0) ? 5
                                           : 10);
}

}  // namespace

AxisTicks::AxisTicks(double low, double high, int wanted) {
  // Less than this share of a step beyond an end is rounding, and counts as within.
  constexpr double kSlack = 1e-6;
  double step = high > low ? RoundStep((high - low) / wanted) : 0;
  // A short axis may lie between two multiples of its step.
  while (step > 0 && std::floor(high / step + kSlack) < std::ceil(low / step - kSlack)) step /= 10;
  const int decimals =
      step > 0 ? std::max(0, static_cast<int>(-std::floor(std::log10(step) + kSlack))) : 0;
  const double first = step > 0 ? std::ceil(low / step - kSlack) : low,
               last = step > 0 ? std::floor(high / step + kSlack) : low;
  for (double i = first; i <= last; ++i) {
    // Adding 0 takes the sign from a zero.
    values.push_back((step > 0 ? i * step : i) + 0.0);
    labels.push_back(step > 0 ? absl::StrFormat("%.*f", decimals, values.back())
                              : absl::StrCat(values.back()));
  }
}

}  // namespace ds
