// Which ranks share a machine, and how they share its cores.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace ds {

// The machine that a process runs on. Names do not tell machines apart: there are many
// "localhost"s, and two containers of one machine have two names.
struct HostIdentity {
  std::string id;    // equal on one machine only: the kernel's boot id
  std::string name;  // for messages: the system's host name
};

// As the files under `root` tell (empty: the system's). Where there is no boot id, the machine id
// and the host name stand for it.
HostIdentity ThisHost(const std::string& root = "");

// The lowest rank on this one's machine: a color for Communicator::Split. `host`: what tells it
// apart; empty: ThisHost().id. Collective.
absl::StatusOr<int> HostOfRank(Communicator& communicator, const std::string& host = "");

// Cores that this rank may keep busy while the others of its machine do likewise, at least 1
// (base/cpu/available_cores.h). Collective.
absl::StatusOr<int> CoresOfRank(Communicator& communicator);

}  // namespace ds
