// Where the run stands, from one site's point of view: a function of what the log says.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "federated/aggregator/publications.h"
#include "federated/aggregator/secure_epochs.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

// `now`: as SteadyTime. `secure` may be null.
Situation SituationOf(const std::string& site, const RoundMachine& machine,
                      const Publications& publications, const SecureEpochs* secure,
                      absl::Duration now);

}  // namespace ds::federated
