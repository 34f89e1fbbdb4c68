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

// By `method`, or for "auto" by the one whose rounding changes the outputs of the site's readers
// least (sum of squares over the collector's kept samples; Conv, Gemm and MatMul by a weight are
// run, for others and without readers the value's own error counts). Errors as of ChooseRange,
// naming the value.
absl::StatusOr<ChosenRange> ChooseActivationRange(const Graph& graph, const ActivationSite& site,
                                                  const Collector& collector, const QuantType& type,
                                                  const std::string& method,
                                                  const CalibrationOptions& options);

}  // namespace ds
