#include "quant/ranges/observer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "quant/ranges/range_methods.h"

namespace ds {
namespace {

struct MethodRow {
  CalibrationMethod method;
  absl::string_view name;
};

constexpr MethodRow kMethods[] = {
    {CalibrationMethod::kMinMax, "min-max"},
    {CalibrationMethod::kMovingAverage, "moving-average"},
    {CalibrationMethod::kPercentile, "percentile"},
    {CalibrationMethod::kMse, "mse"},
    {CalibrationMethod::kKl, "kl"},
};

absl::Status CheckCollected(const Histogram& histogram) {
  const int64_t bad = histogram.nans() + histogram.infinities();
  if (bad > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        histogram.nans(), " NaN and ", histogram.infinities(), " Inf among ",
        histogram.count() + bad,
        " calibration values: no range holds them; look for bad input data or an overflow before"
        " this tensor"));
  }
  if (histogram.count() == 0) {
    return absl::FailedPreconditionError(
        "no calibration values: collect at least one batch that is not empty");
  }
  return absl::OkStatus();
}

RangeChoice MovingAverageRange(const ActivationStatistics& statistics, const QuantType& type) {
  double low = std::min(0.0f, statistics.moving_min());
  double high = std::max(0.0f, statistics.moving_max());
  if (type.is_signed) {
    high = std::max(-low, high);
    low = -high;
  }
  return {.low = low, .high = high};
}

RangeChoice RangeOf(const ActivationStatistics& statistics, const BinDensity& density,
                    const QuantType& type, CalibrationMethod method,
                    const CalibrationOptions& options) {
  // Nothing is to be chosen about a constant.
  const Histogram& histogram = statistics.histogram();
  if (histogram.min() == histogram.max()) method = CalibrationMethod::kMinMax;
  switch (method) {
    case CalibrationMethod::kMinMax:
      break;
    case CalibrationMethod::kMovingAverage:
      return MovingAverageRange(statistics, type);
    case CalibrationMethod::kPercentile:
      return PercentileRange(density, type, options.percentile);
    case CalibrationMethod::kMse:
      return MseRange(density, type);
    case CalibrationMethod::kKl:
      return KlRange(density, type);
  }
  return WholeRange(density, type);
}

}  // namespace

ActivationStatistics::ActivationStatistics(double moving_average_decay)
    : decay_(moving_average_decay) {
  DS_CHECK(decay_ >= 0 && decay_ < 1) << "moving_average_decay is " << decay_;
}

void ActivationStatistics::Add(absl::Span<const float> batch) {
  const Histogram::Seen seen = histogram_.Add(batch);
  if (seen.finite == 0) return;
  ++batches_;
  min_sum_ = decay_ * min_sum_ + (1 - decay_) * seen.min;
  max_sum_ = decay_ * max_sum_ + (1 - decay_) * seen.max;
  weight_ = decay_ * weight_ + (1 - decay_);
}

double ActivationStatistics::MeanSquare() const {
  if (histogram_.count() == histogram_.zeros()) return 0;
  const BinDensity density(histogram_);
  double sum = 0;
  for (int i = 0; i < density.bins(); ++i) {
    const double a = density.edges[i], b = density.edges[i + 1];
    sum += density.counts[i] * (a * a + a * b + b * b) / 3;
  }
  return sum / static_cast<double>(histogram_.count());
}

absl::string_view Name(CalibrationMethod method) {
  return kMethods[static_cast<size_t>(method)].name;
}

absl::StatusOr<CalibrationMethod> CalibrationMethodFromName(absl::string_view name) {
  for (const MethodRow& row : kMethods) {
    if (row.name == name) return row.method;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown calibration method '", name,
                   "'; it is min-max, moving-average, percentile, mse or kl"));
}

std::vector<std::string> RangeMethods() {
  std::vector<std::string> names = {"auto"};
  for (const MethodRow& row : kMethods) names.emplace_back(row.name);
  return names;
}

RangeChoice WholeRange(const BinDensity& density, const QuantType& type) {
  double low = std::min(0.0, density.edges.front()), high = std::max(0.0, density.edges.back());
  if (type.is_signed) {
    high = std::max(-low, high);
    low = -high;
  }
  return {.low = low, .high = high};
}

RangeChoice PercentileRange(const BinDensity& density, const QuantType& type, double percent) {
  const double share = percent / 100;
  const RangeChoice whole = WholeRange(density, type);
  if (share == 1) return whole;
  const bool both_signs = density.edges.front() < 0 && density.edges.back() > 0;
  if (!both_signs) {
    // Cut at the end that is away from 0; a signed type mirrors it.
    const double limit =
        density.edges.back() > 0 ? density.Quantile(share) : -density.Quantile(1 - share);
    return {.low = whole.low < 0 ? -limit : 0, .high = whole.high > 0 ? limit : 0};
  }
  if (!type.is_signed) {
    return {.low = std::min(0.0, density.Quantile((1 - share) / 2)),
            .high = std::max(0.0, density.Quantile(1 - (1 - share) / 2))};
  }
  // Of the magnitudes: CountOutside falls as the limit grows.
  const double wanted = (1 - share) * density.nonzero;
  double inside = 0, limit = whole.high;
  for (int i = 0; i < 60; ++i) {
    const double middle = (inside + limit) / 2;
    (density.CountOutside(-middle, middle) > wanted ? inside : limit) = middle;
  }
  return {.low = -limit, .high = limit};
}

absl::StatusOr<ClipRange> ChooseRange(const ActivationStatistics& statistics, const QuantType& type,
                                      CalibrationMethod method, const CalibrationOptions& options) {
  DS_RETURN_IF_ERROR(CheckType(type));
  if (!(options.percentile > 50 && options.percentile <= 100)) {
    return absl::InvalidArgumentError(absl::StrCat("percentile is ", options.percentile,
                                                   "; it must be above 50 and at most 100"));
  }
  const Histogram& histogram = statistics.histogram();
  DS_RETURN_IF_ERROR(CheckCollected(histogram));
  if (histogram.count() == histogram.zeros()) return ClipRange();

  const BinDensity density(histogram);
  RangeChoice choice = RangeOf(statistics, density, type, method, options);
  ClipRange range = {.low = static_cast<float>(choice.low),
                     .high = static_cast<float>(choice.high),
                     .candidates = choice.candidates};
  if (range.low == 0 && range.high == 0) {
    // Lost to underflow.
    choice = WholeRange(density, type);
    range.low = static_cast<float>(choice.low);
    range.high = static_cast<float>(choice.high);
  }
  DS_ASSIGN_OR_RETURN(const QuantParams params, ParamsForRange(type, range.low, range.high));
  const auto count = static_cast<double>(histogram.count());
  range.squared_error = density.SquaredError(params) / count;
  const double half = params.scales[0] / 2.0;
  range.clipped_share = density.CountOutside(range.low, range.high) / count;
  range.lost_share = density.CountOutside(range.low - half, range.high + half) / count;
  return range;
}

}  // namespace ds
