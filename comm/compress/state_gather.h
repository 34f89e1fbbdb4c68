// All ranks' compressor states in one place, for whoever writes a checkpoint.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/compress/compressor_state.h"

namespace ds {

// On rank `root`: the state of each rank; elsewhere nothing. Needs memory for all of them there.
// Collective.
absl::StatusOr<std::vector<CompressorState>> GatherStates(Communicator& communicator,
                                                          const CompressorState& state, int root);

}  // namespace ds
