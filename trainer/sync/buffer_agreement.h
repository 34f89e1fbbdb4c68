// Makes tensors of which each rank has its own version, batch norms' running statistics, the same
// on all of them.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"
#include "executor/graph_module.h"

namespace ds {

// Tensors of float32 and float64 become their mean over the ranks, summed in double in the order of
// ranks; what is counted in integers becomes rank 0's. The result is the same on every rank bit for
// bit. Dense tensors on the host, of the same types and shapes everywhere. Collective.
absl::Status AgreeOnTensors(const std::vector<NamedTensor>& tensors, Communicator& communicator);

// All tensors become rank 0's. As above.
absl::Status BroadcastTensors(const std::vector<NamedTensor>& tensors, Communicator& communicator);

}  // namespace ds
