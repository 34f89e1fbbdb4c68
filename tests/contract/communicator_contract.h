// What every backend must do, as one function that each rank runs on its communicator.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace ds {

// Runs every check; collective. Returns what went wrong on this rank, empty if nothing did.
std::vector<std::string> CheckContract(Communicator& communicator);

}  // namespace ds
