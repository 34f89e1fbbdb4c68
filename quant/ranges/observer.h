// Calibration of activations: collect what a tensor holds while representative data runs through
// the model, then choose the range of real numbers that its codes shall span.
//
//   ActivationStatistics statistics;
//   for (batch : data) statistics.Add(values_of(batch));
//   const auto method = CalibrationMethod::kMse;
//   ClipRange range = *ChooseRange(statistics, {.bits = 4, .is_signed = false}, method, {});
//   QuantParams params = *ParamsForRange(type, range.low, range.high);
//
// One pass and constant memory, whatever the number of samples: methods choose from a histogram
// (quant/ranges/histogram.h) and never see a value again, so that all of them, and all widths, can
// be tried on one collection. docs/calibration.md has the formulas and the papers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "quant/affine.h"
#include "quant/ranges/histogram.h"

namespace ds {

// Not thread-safe: one a thread, merged at the end.
class ActivationStatistics {
 public:
  // `moving_average_decay` in [0, 1): the weight of what came before when a batch comes; 0 keeps
  // the last batch only.
  explicit ActivationStatistics(double moving_average_decay = 0.9);

  // One batch of the tensor's values; an empty one changes nothing. NaN and Inf are counted, and
  // make ChooseRange fail.
  void Add(absl::Span<const float> batch);
  const Histogram& histogram() const { return histogram_; }
  int64_t batches() const { return batches_; }
  // Averages of the batches' least and greatest values, the latest weighing most: batch t of n has
  // weight decay^(n - t), normalised. 0 before the first batch.
  float moving_min() const { return static_cast<float>(weight_ > 0 ? min_sum_ / weight_ : 0); }
  float moving_max() const { return static_cast<float>(weight_ > 0 ? max_sum_ / weight_ : 0); }
  // Mean of the squares of the finite values, from the histogram (relative error below 1e-4 unless
  // nearly all values are in its lowest bins). 0 where there are none.
  double MeanSquare() const;

 private:
  Histogram histogram_;
  double decay_;
  int64_t batches_ = 0;
  double min_sum_ = 0, max_sum_ = 0, weight_ = 0;
};

enum class CalibrationMethod {
  kMinMax,         // all that was seen
  kMovingAverage,  // the moving averages of the batches' ends
  kPercentile,     // all but a given share of the values
  kMse,            // least expected squared error, rounding and clipping together
  kKl,             // least Kullback-Leibler divergence of the quantised distribution
};
// "min-max", "moving-average", "percentile", "mse", "kl".
absl::string_view Name(CalibrationMethod method);
absl::StatusOr<CalibrationMethod> CalibrationMethodFromName(absl::string_view name);
// What an option that chooses among them may say: "auto", and each one's name.
std::vector<std::string> RangeMethods();

struct CalibrationOptions {
  // kPercentile: share of the values other than 0 that the range holds, in percent, (50, 100].
  // Where values of both signs exist and the type is unsigned, half of the rest lies beyond each
  // end.
  double percentile = 99.99;
};

// low <= 0 <= high. For a signed type, which is symmetric, low = -high.
struct ClipRange {
  float low = 0;
  float high = 0;
  // Expected square of the error of one value under ParamsForRange(type, low, high), clipping
  // included; estimated from the histogram. Against MeanSquare() it is the relative squared error.
  double squared_error = 0;
  // Share in [0, 1] of the values (zeros included) outside [low, high].
  double clipped_share = 0;
  double lost_share = 0;  // of them those further out than half a step, as rounding moves values
  // How many ranges were compared; 1 for methods that compute one.
  int candidates = 1;
};

// Errors:
//   FailedPrecondition  nothing was collected
//   InvalidArgument     NaN or Inf was collected (how many), a type that CheckType refuses, an
//                       option out of range
// Where all values are 0 the range is [0, 0], where all are one value c it reaches from 0 to c,
// whatever the method.
absl::StatusOr<ClipRange> ChooseRange(const ActivationStatistics& statistics, const QuantType& type,
                                      CalibrationMethod method, const CalibrationOptions& options);

}  // namespace ds
