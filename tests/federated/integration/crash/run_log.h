// What a finished run's log says, and what no log may say.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "federated/round/records.h"

namespace ds::federated {

// A publication, and the updates that it is of, in the order of their commits.
struct RunSum {
  RoundPublished published;
  std::vector<UpdateCommitted> updates;
};

struct RunLog {
  RunOptions options;
  ModelFixed model;
  std::vector<RunSum> sums;
  std::string model_digest;  // of the last version
  int64_t versions = 0;
  EndState end = EndState::kRunning;
  std::string reason;
  std::map<std::string, int64_t> counted;                 // site → sums that hold its update
  std::map<int64_t, std::vector<std::string>> survivors;  // round → sites
  int64_t abandoned = 0;
  int64_t setups_beside = 0;  // finished while a round was under way, and used
};

// DataLoss for what may never be: a record that is none, an update of one site and round twice, two
// sets of survivors for one round or one index of a set-up, survivors without an update, a version
// twice or left out, a round charged twice, anything behind the end. Of a run without rounds also:
// updates of a site out of its own order, a sum of others than those that came first.
absl::StatusOr<RunLog> ReadRunLog(const std::vector<std::string>& entries);

}  // namespace ds::federated
