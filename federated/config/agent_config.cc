#include "federated/config/agent_config.h"

#include <utility>

#include "base/status.h"
#include "config/reader.h"
#include "jobs/config/train_fields.h"

namespace ds::federated {
namespace {

constexpr double kMany = 1e9;
using Fields = std::vector<Field>;

void AddAgent(AgentConfig& c, Fields& out) {
  out.push_back({"agent", "aggregator", &c.aggregator, Any(), "HOST:PORT that is dialled"});
  out.push_back({"agent", "identity", &c.identity, Any(),
                 "folder of the site's key and certificate, as `ds_agent enrol` makes it"});
  out.push_back({"agent", "state", &c.state, Any(),
                 "folder of what must survive a kill; never shared, never restored from a backup"});
  out.push_back({"agent", "threads", &c.site.run.threads, Between(0, 1024),
                 "compute threads; 0: the cores that affinity and quota leave"});
  out.push_back({"agent", "give_up_after_s", &c.give_up_after_s, AtLeast(0),
                 "seconds without any answer of the aggregator; 0: never"});
  out.push_back({"agent", "insecure", &c.insecure, Any(),
                 "without TLS and certificates; refused but on loopback addresses"});
  out.push_back({"agent", "name", &c.name, Any(), "insecure: what the site is called"});
}

void AddPolicy(AgentPolicy& c, Fields& out) {
  out.push_back({"policy", "secure", &c.require_secure, Any(),
                 "take part only where the aggregator sees nothing but sums"});
  out.push_back({"policy", "least_sites", &c.secure.sites, Between(2, kMany),
                 "secure: sites in the roster, at least"});
  out.push_back({"policy", "least_threshold", &c.secure.threshold, Between(2, kMany),
                 "secure: answers that it takes to unmask a sum, at least"});
  out.push_back({"policy", "colluders", &c.secure.colluders, Between(0, kMany),
                 "secure: sites that may conspire with the aggregator; 2 threshold > sites + "
                 "colluders is insisted on"});
  out.push_back({"policy", "strict", &c.secure.strict, Any(),
                 "secure: no share leaves before the others' signed echoes are there"});
  out.push_back({"policy", "least_difference", &c.secure.least_difference, Between(0, kMany),
                 "secure: survivor sets that differ from an earlier one by fewer sites are not "
                 "answered; 0: as the run says"});
  out.push_back({"policy", "noise", &c.require_noise, Any(),
                 "take part only with noise that the sites add themselves"});
  out.push_back({"policy", "least_noise_multiplier", &c.least_noise_multiplier, AtLeast(0),
                 "of a run with differential privacy; 0: any"});
  out.push_back({"policy", "most_epsilon", &c.most_epsilon, AtLeast(0),
                 "the run's privacy budget must be set, and not above; 0: any"});
  out.push_back({"policy", "most_delta", &c.most_delta, Share(), "where most_epsilon is set"});
  out.push_back({"policy", "most_rounds", &c.most_rounds, Between(0, kMany), "0: any"});
  out.push_back(
      {"policy", "strategies", &c.strategies, Any(), "that are allowed; empty: all of them"});
  out.push_back({"policy", "declare_samples", &c.declare_samples, Any(),
                 "the aggregator may be told how many samples this site has"});
}

// Of a training's keys, those of the site's own data. How samples are treated is the task's.
void AddData(TrainConfig& site, Fields& out) {
  for (Field& field : TrainFields(site)) {
    const bool treatment = field.key == "batch_size" || field.key == "mean" ||
                           field.key == "stddev" || field.key == "drop_last";
    if ((field.section == "data" && !treatment) || field.section == "data.partition") {
      out.push_back(std::move(field));
    }
  }
}

absl::Status Check(const AgentConfig& config, const PositionOf& at) {
  if (config.aggregator.empty()) {
    return YamlError(at("agent"), "'agent.aggregator' is missing: HOST:PORT that is dialled");
  }
  if (config.insecure && config.name.empty()) {
    return YamlError(at("agent.insecure"), "'agent.insecure' wants an 'agent.name' for the site");
  }
  if (!config.insecure && config.identity.empty()) {
    return YamlError(at("agent"),
                     "'agent.identity' is missing: the folder that `ds_agent enrol` made (or "
                     "agent.insecure=true, on a loopback address only)");
  }
  if (config.state.empty()) return YamlError(at("agent.state"), "'agent.state' names no folder");
  return absl::OkStatus();
}

}  // namespace

ConfigSchema AgentSchema(AgentConfig& config) {
  ConfigSchema schema;
  schema.sections = {
      {"agent", "How the site reaches its aggregator."},
      {"policy", "What the site insists on, whatever the aggregator asks for."},
      {"data",
       "The site's own samples, which never leave it; how they are batched and augmented "
       "is the task's (data.md)."},
      {"data.partition", "A share of one data set, for tries on one machine."},
  };
  AddAgent(config, schema.fields);
  AddPolicy(config.policy, schema.fields);
  AddData(config.site, schema.fields);
  schema.check = [&config](const PositionOf& at) { return Check(config, at); };
  schema.example = {.yaml = "agent: {aggregator: \"localhost:7443\"}",
                    .override = "data.path=FOLDER",
                    .file = "configs/federated/agent.yaml"};
  return schema;
}

absl::StatusOr<AgentConfig> ReadAgentConfig(const std::string& path,
                                            const std::vector<std::string>& overrides) {
  AgentConfig config;
  DS_RETURN_IF_ERROR(ReadConfig(AgentSchema(config), path, overrides));
  return config;
}

std::string PrintAgentConfig(const AgentConfig& config) {
  AgentConfig copy = config;
  return PrintConfig(AgentSchema(copy));
}

}  // namespace ds::federated
