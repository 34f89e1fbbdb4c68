// What a run's options must satisfy, each by itself and all together.
#pragma once

#include "absl/status/status.h"
#include "federated/options/options.h"

namespace ds::federated {

// InvalidArgument for the first value out of range or combination that makes no sense, with its
// reason ("strategy krum needs each site's update, which secure.mode 'on' hides from the
// aggregator: ...").
absl::Status CheckRunOptions(const RunOptions& options);

}  // namespace ds::federated
