// The methods of quant/ranges/observer.h that search in the histogram. Internal to quant/.
#pragma once

#include "quant/affine.h"
#include "quant/ranges/bin_density.h"

namespace ds {

// low <= 0 <= high; for signed types, -low and high are both the limit.
struct RangeChoice {
  double low = 0, high = 0;
  int candidates = 1;
};

// The whole of the density, symmetric for a signed type.
RangeChoice WholeRange(const BinDensity& density, const QuantType& type);
// percent: (50, 100].
RangeChoice PercentileRange(const BinDensity& density, const QuantType& type, double percent);
RangeChoice MseRange(const BinDensity& density, const QuantType& type);
RangeChoice KlRange(const BinDensity& density, const QuantType& type);

}  // namespace ds
