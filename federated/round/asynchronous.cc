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

// What counts is the version that it is added to: its sum is made once those before it are. So the
// buffer is bounded too, and no site can spoil a sum that others are in.
int64_t RoundMachine::OldestBase() const {
  const int64_t sums_before = static_cast<int64_t>(updates_.size()) / options().strategy.buffer;
  return std::max<int64_t>(0, version_ + sums_before - options().strategy.max_staleness);
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
  if (record.base_version < 0 || record.base_version > version_ ||
      record.base_version < OldestBase()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an update for version ", record.base_version, " at version ", version_, ", with ",
        updates_.size(), " waiting for their sums: at most ", options().strategy.max_staleness,
        " versions are made up for (strategy.max_staleness)"));
  }
  return absl::OkStatus();
}

}  // namespace ds::federated
