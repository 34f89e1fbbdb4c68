// Brings the ranks' traces together on rank 0.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "report/trace.h"

namespace ds {

// A trace is for looking at: of a large job the first ranks are enough.
constexpr int kTracedRanks = 8;

// Collective. On rank 0 the parts of trace.json of the first kTracedRanks ranks, in order, for
// WriteTrace; nothing elsewhere. The earliest span of all begins at 0. Ranks of one host share a
// clock; clocks of other hosts are brought in line at a barrier, to about the network's latency.
absl::StatusOr<std::vector<std::string>> GatherTraces(const std::vector<TraceSpan>& mine,
                                                      Communicator& communicator);

}  // namespace ds
