#include "federated/jobs/agent_job.h"

#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "federated/agent/file_vault.h"
#include "federated/jobs/site_connection.h"
#include "federated/pki/site_files.h"
#include "federated/pki/token.h"

namespace ds::federated {

absl::StatusOr<AgentReport> RunAgentJob(const AgentConfig& config, const AgentJobOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<const SiteIdentity> identity, IdentityOf(config));
  DS_ASSIGN_OR_RETURN(std::shared_ptr<Vault> vault, OpenFileVault(config.state + "/vault"));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<SiteFiles> files,
                      SiteFiles::Open(config.state + "/files"));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<RpcClient> client, ConnectSite(config));
  std::optional<Renewal> renewal;
  if (!config.insecure) renewal.emplace(config.identity, *client);
  const std::unique_ptr<LocalTrainer> trainer = options.trainer(identity->site());
  RunAgentOptions run;
  run.agent.policy = config.policy;
  run.agent.say = options.say;
  if (config.give_up_after_s > 0) run.give_up_after = absl::Seconds(config.give_up_after_s);
  return RunAgent(run,
                  {.client = client.get(),
                   .trainer = trainer.get(),
                   .files = files.get(),
                   .vault = std::move(vault),
                   .identity = identity},
                  options.stop);
}

absl::Status EnrolAgent(const AgentConfig& config, const std::string& token,
                        const std::string& site, const std::string& role) {
  DS_ASSIGN_OR_RETURN(const EnrolmentToken parsed, EnrolmentToken::Parse(token));
  // The token's secret goes only to whom its fingerprint names.
  DS_ASSIGN_OR_RETURN(std::string authority, FetchAuthority(config.aggregator, parsed.fingerprint));
  const auto trusted = std::make_shared<const TlsIdentity>(TlsIdentity{.authority = authority});
  DS_ASSIGN_OR_RETURN(
      const std::unique_ptr<RpcClient> client,
      ConnectFederation({.address = config.aggregator, .identity = [trusted] { return trusted; }}));
  return EnrolSite(config.identity, token, site, role,
                   [&client](const EnrolRequest& request) { return client->Enrol(request); });
}

std::vector<CheckLine> CheckAgent(const AgentConfig& config) {
  return DiagnoseConnection(
      {.address = config.aggregator,
       .identity = IdentityFile(config.identity),
       .hello = [&config](const HelloRequest& request) -> absl::StatusOr<HelloReply> {
         DS_ASSIGN_OR_RETURN(const std::unique_ptr<RpcClient> client, ConnectSite(config));
         return client->Hello(request);
       }});
}

}  // namespace ds::federated
