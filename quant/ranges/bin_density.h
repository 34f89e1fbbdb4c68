// A histogram as the density that the calibration methods integrate over: successive bins in
// ascending order, from the least value to the greatest, zeros apart, and within each bin its
// values spread evenly. The outermost edges are the exact least and greatest value. Internal to
// quant/.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/affine.h"
#include "quant/ranges/histogram.h"

namespace ds {

struct BinDensity {
  // Of the values other than 0, which `histogram` must have.
  explicit BinDensity(const Histogram& histogram);

  int bins() const { return static_cast<int>(counts.size()); }

  std::vector<double> edges;    // bins() + 1, ascending; bin i is [edges[i], edges[i + 1]]
  std::vector<double> counts;   // of each bin; the first and the last are not 0
  std::vector<double> density;  // counts over the bins' widths; not finite where all values are one
  int zero = 0;                 // the bin whose lower edge is 0, before the ends were made exact:
                                // <= 0 where no value is negative, >= bins() where none is positive
  double width = 0;             // of every bin but the ends
  double nonzero = 0;           // sum of counts
  double zeros = 0;             // exact zeros, which are in no bin

  // The value below which a share in [0, 1] of the values other than 0 lie.
  double Quantile(double share) const;
  // How many values lie outside [low, high], low <= 0 <= high.
  double CountOutside(double low, double high) const;
  // Sum over all values of the square of what quantising with `params` (one scale) changes them by:
  // rounding within the range of the codes and clipping beyond it. 0 changes by nothing.
  double SquaredError(const QuantParams& params) const;
};

}  // namespace ds
