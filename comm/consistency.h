// Are all ranks about to run the same thing?
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace ds {

// Compares the lists over the ranks. FailedPrecondition, the same on every rank, naming the first
// item that differs from rank 0's, the rank and the first differing line of both. Collective.
absl::Status CheckSameOnAllRanks(Communicator& communicator,
                                 const std::vector<std::pair<std::string, std::string>>& items);

}  // namespace ds
