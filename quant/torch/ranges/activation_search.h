// Chooses an activation's range by trying candidates out on the layers that read it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/ranges/observer.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"

namespace ds {

struct ChosenRange {
  CalibrationMethod method = CalibrationMethod::kMinMax;
  ClipRange range;
};

// A range, and what it does to the outputs of the value's readers: sums of squares over the
// collector's kept samples.
struct RangeTrial {
  ChosenRange chosen;
  double error = 0;     // by rounding and clipping
  double clipping = 0;  // by clipping alone
};

// One trial of `method`, or for "auto" one of each method. Conv, Gemm and MatMul by a weight are
// run; for others and without readers the value's own error counts. Errors as of ChooseRange,
// naming the value.
absl::StatusOr<std::vector<RangeTrial>> TryRanges(const Graph& graph, const ActivationSite& site,
                                                  const Collector& collector, const QuantType& type,
                                                  const std::string& method,
                                                  const CalibrationOptions& options);

// The trial of least error, clipping counted `caution` times, >= 1; the first of equals. `trials`
// is not empty.
const ChosenRange& LeastError(const std::vector<RangeTrial>& trials, double caution);

// The trial of least error, clipping counted once.
absl::StatusOr<ChosenRange> ChooseActivationRange(const Graph& graph, const ActivationSite& site,
                                                  const Collector& collector, const QuantType& type,
                                                  const std::string& method,
                                                  const CalibrationOptions& options);

}  // namespace ds
