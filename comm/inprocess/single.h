// A group of one rank: every collective is a no-op. Backend "none".
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace ds {

std::unique_ptr<Communicator> CreateSingleCommunicator();

}  // namespace ds
