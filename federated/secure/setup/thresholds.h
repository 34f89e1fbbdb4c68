// Whether a roster is large enough and its threshold high enough.
#pragma once

#include "absl/status/status.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/setup/setup.h"

namespace ds::federated::secure {

constexpr int64_t kLeastSites = 3;  // of two, each would know the other's update from the sum

// A site's look at a roster: PermissionDenied where its number of sites or threshold is below the
// site's floors or what its number of colluders needs.
absl::Status CheckFloors(const Setup& setup, const SecureFloors& floors, int64_t colluders);

}  // namespace ds::federated::secure
