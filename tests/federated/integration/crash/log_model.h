// The models that a log's own records make, from the first one on.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "federated/aggregator/aggregator.h"
#include "tests/federated/integration/crash/run_log.h"

namespace ds::federated {

// Every publication is the sum of just the updates that the log holds for it, each once (not where
// masks or noise hide that), and makes the version whose digest the log says. DataLoss. `blobs` by
// digest: all that ever were.
absl::Status CheckModels(const RunLog& log, const std::map<std::string, std::string>& blobs,
                         InitialModel initial);

}  // namespace ds::federated
