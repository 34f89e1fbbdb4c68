// What ds_agent does after it has read its arguments: a site's part in a run, its enrolment, and
// the check of its connection.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "federated/agent/local_trainer.h"
#include "federated/agent/run_agent.h"
#include "federated/config/agent_config.h"
#include "federated/pki/check/diagnose.h"

namespace ds::federated {

struct AgentJobOptions {
  const std::atomic<bool>* stop = nullptr;  // leave now; the site goes on when started again
  std::function<void(absl::string_view line)> say;  // for people
  // Makes the trainer, given the site's name.
  std::function<std::unique_ptr<LocalTrainer>(const std::string& site)> trainer;
};

// Until the run ends. Renews the site's certificate when half of its life is over. Errors as
// RunAgent.
absl::StatusOr<AgentReport> RunAgentJob(const AgentConfig& config, const AgentJobOptions& options);

// Gets the site its first certificate with a token of ds_pki, which was made for `site` and `role`.
absl::Status EnrolAgent(const AgentConfig& config, const std::string& token,
                        const std::string& site, const std::string& role);

// What stands between the site and its aggregator, step by step.
std::vector<CheckLine> CheckAgent(const AgentConfig& config);

}  // namespace ds::federated
