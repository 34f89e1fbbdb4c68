#include "federated/update/site_noise.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"

namespace ds::federated {

absl::StatusOr<SumNoise> MakeSumNoise(const RunOptions& options, const Grid& grid, int64_t used,
                                      int64_t coordinates, int64_t maximum_sites) {
  SumNoise noise;
  const std::string& mechanism = options.privacy.mechanism;
  if (mechanism == "none") return noise;
  noise.in_sum = mechanism == "central";
  noise.on_sites = !noise.in_sum;
  // The scale is clip_norm over the root of `used`, so the norm of a clipped update in scales is
  // that root. It is rounded up a little: clipping itself is done in floats.
  constexpr double kFloatSlack = 1 + 1e-5;
  const double norm = std::sqrt(static_cast<double>(used)) / static_cast<double>(grid.step);
  noise.sensitivity = RoundedNorm(norm * kFloatSlack, coordinates);
  // Colluders know their own noise.
  const int64_t honest =
      options.round.minimum - (options.secure.mode == "off" ? 0 : options.secure.colluders);
  DS_ASSIGN_OR_RETURN(noise.plan, PlanNoise({.mechanism = mechanism,
                                             .noise_multiplier = options.privacy.noise_multiplier,
                                             .sensitivity = noise.sensitivity,
                                             .minimum_sites = std::max<int64_t>(1, honest),
                                             .maximum_sites = maximum_sites}));
  return noise;
}

}  // namespace ds::federated
