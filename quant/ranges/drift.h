// Whether data has moved away from what a range was calibrated on, told from two histograms.
#pragma once

#include <cstdint>

#include "quant/ranges/histogram.h"

namespace ds {

struct Drift {
  // Population stability index: the sum over groups of (q - p) ln(q / p), p and q the shares of the
  // calibrated and the new values in a group. 0 for equal shares; by the usual reading below 0.1
  // nothing has changed and above 0.25 much has (Siddiqi, "Credit Risk Scorecards", 2006).
  double stability_index = 0;
  // Share of the new values beyond the least or greatest calibrated one. Values within a histogram
  // bin of these are not counted.
  double outside_share = 0;
};

// Groups are about tenths of the calibrated values, cut at bin edges; a value that alone is more
// than a tenth, such as 0 behind a ReLU, has a group of its own. Each group counts half a value
// more than it holds, so that none is empty. 0 where either histogram is empty.
Drift MeasureDrift(const Histogram& calibrated, const Histogram& now);

}  // namespace ds
