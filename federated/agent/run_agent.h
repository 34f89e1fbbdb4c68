// A site's life in a run, from hello to the end: one thread follows the aggregator's situations,
// another one trains and uploads, so that no request of secure aggregation waits for training.
#pragma once

#include <atomic>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/agent/agent.h"

namespace ds::federated {

struct RunAgentOptions {
  AgentOptions agent;
  // Between tries on an aggregator that does not answer: doubled from the first to the longest,
  // each cut by up to a half by chance, so that sites do not come back all at once.
  absl::Duration first_pause = absl::Milliseconds(50);
  absl::Duration longest_pause = absl::Seconds(10);
  // Without any answer for so long the site gives up. A run may take weeks, and its aggregator may
  // be away for a night.
  absl::Duration give_up_after = absl::InfiniteDuration();
  // How soon a stop or an end of the other thread is seen at the latest.
  absl::Duration look_every = absl::Seconds(1);
};

// Until the run has ended (AgentReport::end), or `stop` (may be null) is true: then the end is
// kRunning, and the site goes on where it was when it is started again. Errors are those that
// LeavesTheRun knows, FailedPrecondition where the site cannot join, and DeadlineExceeded after
// give_up_after; each says what happened and how to mend it.
absl::StatusOr<AgentReport> RunAgent(const RunAgentOptions& options, const AgentParts& parts,
                                     const std::atomic<bool>* stop);

}  // namespace ds::federated
