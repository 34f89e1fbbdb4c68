#include "federated/secure/setup/thresholds.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/secure_server.h"

namespace ds::federated {

absl::StatusOr<int64_t> LeastThreshold(int64_t sites, int64_t colluders) {
  if (sites < secure::kLeastSites)
    return absl::InvalidArgumentError(
        absl::StrCat("secure aggregation of ", sites, " sites: each would know too much from the ",
                     "sum; at least ", secure::kLeastSites, " are needed"));
  if (colluders < 0)
    return absl::InvalidArgumentError(
        absl::StrCat("secure.colluders is ", colluders, ", must be 0 or more"));
  const int64_t threshold = (sites + colluders) / 2 + 1;
  if (threshold <= sites) return threshold;
  return absl::InvalidArgumentError(absl::StrCat(
      "secure.colluders of ", colluders, " cannot be held by ", sites,
      " sites: the threshold t must have 2t > ", sites, " + ", colluders, ", so t = ", threshold,
      " of ", sites, " sites; more sites, or fewer colluders"));
}

namespace secure {

absl::Status CheckFloors(const Setup& setup, const SecureFloors& floors, int64_t colluders) {
  const int64_t sites = setup.sites();
  if (sites < std::max(floors.sites, kLeastSites))
    return absl::PermissionDeniedError(absl::StrCat("the aggregator's roster has ", sites,
                                                    " sites, this site insists on ",
                                                    std::max(floors.sites, kLeastSites)));
  const int64_t held = std::max(colluders, floors.colluders);
  const auto least = LeastThreshold(sites, held);
  if (!least.ok()) return absl::PermissionDeniedError(least.status().message());
  const int64_t needed = std::max(*least, floors.threshold);
  if (setup.threshold() < needed)
    return absl::PermissionDeniedError(
        absl::StrCat("the aggregator's threshold is ", setup.threshold(), " of ", sites,
                     " sites, this site insists on ", needed, " (2t > ", sites, " + ", held,
                     " colluders, and at least ", floors.threshold, ")"));
  // Above 255 sites it is the number of colluders that decides about a neighbourhood.
  if (setup.colluders() < held)
    return absl::PermissionDeniedError(absl::StrCat("the aggregator's roster holds ",
                                                    setup.colluders(), " colluders, this site ",
                                                    "insists on ", held));
  return absl::OkStatus();
}

}  // namespace secure
}  // namespace ds::federated
