// How the threads of a program wait for each other.
#pragma once

#include "comm/launch_info.h"

namespace ds {

// For main(), first of all: where several ranks run on this host, OpenMP's threads must not spin
// while they wait, on cores that other ranks, or this one's exchange, could use. The library reads
// how when it is loaded, so this sets OMP_WAIT_POLICY=passive and starts the program anew in the
// same process. Returns where that is not needed: one rank, or somebody has chosen (OMP_WAIT_POLICY
// or GOMP_SPINCOUNT is set); and where the system does not let it.
void WaitPassivelyAmongRanks(const LaunchInfo& launch, char** argv);

}  // namespace ds
