// The part of the machine that differs when updates come at any time (FedBuff, Nguyen et al. 2022):
// a site's updates are counted one by one, each may be for an older version, and a sum is published
// for every strategy.buffer of them.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

int64_t RoundMachine::NextUpdateOf(const std::string& site) const {
  const auto found = next_update_.find(site);
  return found == next_update_.end() ? 0 : found->second;
}

absl::Status RoundMachine::CheckAsynchronous(const UpdateCommitted& record) const {
  if (!model_ || stage_ == Stage::kWaiting) {
    return absl::FailedPreconditionError("no round has begun yet");
  }
  if (!joined_.contains(record.site)) {
    return absl::InvalidArgumentError(absl::StrCat("site '", record.site, "' has not joined"));
  }
  if (record.round != NextUpdateOf(record.site)) {
    return absl::InvalidArgumentError(absl::StrCat("update ", record.round, " of site '",
                                                   record.site, "', whose next one is ",
                                                   NextUpdateOf(record.site)));
  }
  const int64_t staleness = version_ - std::max<int64_t>(record.base_version, -1);
  if (record.base_version < 0 || staleness < 0 || staleness > options().strategy.max_staleness) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an update for version ", record.base_version, " at version ", version_, ": at most ",
        options().strategy.max_staleness, " versions are made up for (strategy.max_staleness)"));
  }
  return absl::OkStatus();
}

}  // namespace ds::federated
