// What a site looks at before it answers for a list of survivors: the list itself, the others'
// echoes of it, and everybody's notes of the round before.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/site/agent_epoch.h"
#include "federated/secure/site/round_record.h"

namespace ds::federated::secure {

// It is of this round and transcript, its sites are participants, at least the threshold.
// PermissionDenied otherwise.
absl::Status CheckList(const AgentEpoch& epoch, const RoundRecord& record,
                       const Survivors& survivors);

// At least threshold participants signed the hash of this very list. PermissionDenied.
absl::Status CheckEchoes(const AgentEpoch& epoch, const Survivors& survivors, const Bytes32& hash);

// Who says what of the last answered round. `last`: what this site answered last, null where it has
// answered none. `epochs`: of which this site still knows the rosters. PermissionDenied where the
// lists were not one, or words are kept back; DataLoss where this site's own word is one that it
// does not know of.
absl::Status CheckPrevious(const std::map<int64_t, std::unique_ptr<AgentEpoch>>& epochs,
                           const AgentEpoch& epoch, const RoundRecord& record,
                           const RoundRecord* last, const Survivors& survivors);

}  // namespace ds::federated::secure
