// What ds_agent is told: plain values, which YAML's keys fill (docs/federated-configuration.md).
// Torch-free and gRPC-free.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/schema.h"
#include "federated/agent/policy.h"
#include "jobs/config/train_config.h"

namespace ds::federated {

struct AgentConfig {
  std::string aggregator;  // HOST:PORT
  std::string identity;    // folder of the site's key and certificate, as `enrol` makes it
  std::string state = "agent-state";  // folder of what must survive a kill
  bool insecure = false;              // no TLS, loopback only; the site is called `name`
  std::string name;                   // insecure only
  double give_up_after_s = 86400;     // without an answer of the aggregator; 0: never
  AgentPolicy policy;
  // The site's own samples: its data section, and run.threads.
  TrainConfig site;
};

// Bound to `config`, which must outlive it.
ConfigSchema AgentSchema(AgentConfig& config);
absl::StatusOr<AgentConfig> ReadAgentConfig(const std::string& path,
                                            const std::vector<std::string>& overrides);
std::string PrintAgentConfig(const AgentConfig& config);

}  // namespace ds::federated
