// Differential privacy of a sum of updates (federated/privacy/noise.h): how far one site's update
// can be from the zero update, and how much noise hides that. Units are levels.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "federated/options/options.h"
#include "federated/privacy/noise.h"
#include "federated/update/grid.h"

namespace ds::federated {

// All zero where options.privacy.mechanism is "none".
struct SumNoise {
  bool on_sites = false;   // each site adds its share
  bool in_sum = false;     // whoever publishes adds all of it
  double sensitivity = 0;  // the most that the L2 norm of an update's levels is, from the centre
  NoisePlan plan;

  bool any() const { return on_sites || in_sum; }
};

// `used`: coordinates of a clipped update, of which there are `coordinates` with the padding.
absl::StatusOr<SumNoise> MakeSumNoise(const RunOptions& options, const Grid& grid, int64_t used,
                                      int64_t coordinates, int64_t maximum_sites);

}  // namespace ds::federated
