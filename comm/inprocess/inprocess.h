// Ranks as threads of one process, for tests and single-host experiments. Real deadlines; a rank
// whose communicator is destroyed makes the others' waits on it return Unavailable.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace ds {

// One communicator a rank; each may be used by one thread at a time.
std::vector<std::unique_ptr<Communicator>> CreateInProcessGroup(int size);

}  // namespace ds
