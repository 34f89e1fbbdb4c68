// What a site insists on before it joins, whatever the aggregator asks for. An offer that asks for
// less is left with the reason.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "federated/secure/secure_agent.h"
#include "federated/wire/messages.h"

namespace ds::federated {

struct AgentPolicy {
  bool require_secure = false;          // secure.mode "on" or "strict"
  SecureFloors secure;                  // held wherever secure aggregation is on
  bool require_noise = false;           // a privacy.mechanism of the site's own noise
  double least_noise_multiplier = 0;    // with a mechanism; 0: any
  double most_epsilon = 0;              // the run's budget must be set and not above; 0: any
  double most_delta = 1;                // where most_epsilon is set, (0, 1]
  int64_t most_rounds = 0;              // 0: any
  std::vector<std::string> strategies;  // allowed ones; empty: all
  bool declare_samples = true;          // the site may name its sample count to the aggregator
};

// PermissionDenied names the first thing that the site does not allow, both values, and who must
// change what. InvalidArgument: the offer makes no sense (CheckRunOptions), or its run has no name
// that can be used.
absl::Status CheckOffer(const AgentPolicy& policy, const RunOffer& offer);

}  // namespace ds::federated
