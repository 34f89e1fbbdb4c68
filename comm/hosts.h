// Which ranks share a machine.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace ds {

// The lowest rank that gave the same `host_name` as this one: a color for Communicator::Split.
// Empty: the system's host name. Collective.
absl::StatusOr<int> HostOfRank(Communicator& communicator, const std::string& host_name = "");

}  // namespace ds
