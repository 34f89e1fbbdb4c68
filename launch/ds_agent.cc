// ds_agent: a site's part in a federated run.
//   ds_agent enrol --config FILE --token TOKEN --site NAME    once
//   ds_agent check --config FILE                              what stands in the way, step by step
//   ds_agent --config FILE                                    takes part until the run ends
// Exit codes: 0 the run ended well or the agent was stopped, 1 an error, 3 the site refuses the
// run.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/log.h"
#include "federated/jobs/agent_job.h"
#include "federated/training/torch_trainer.h"
#include "launch/instructions.h"

namespace {

using namespace ds::federated;  // NOLINT: the whole program is about it

std::atomic<bool> stop = false;
extern "C" void OnSignal(int) {
  if (stop.exchange(true)) _exit(1);
}

int Fail(const absl::Status& status) {
  constexpr int kRefused = 3;
  std::fprintf(stderr, "ds_agent: %s\n", std::string(status.message()).c_str());
  return absl::IsPermissionDenied(status) ? kRefused : 1;
}

int Check(const AgentConfig& config) {
  bool passed = true;
  for (const CheckLine& line : CheckAgent(config)) {
    std::printf("%-26s %s  %s\n", line.name.c_str(), line.passed ? "ok  " : "FAIL",
                line.detail.c_str());
    if (!line.passed) std::printf("  mend: %s\n", line.mend.c_str());
    passed = passed && line.passed;
  }
  return passed ? 0 : 1;
}

int Run(const AgentConfig& config) {
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  AgentJobOptions job;
  job.stop = &stop;
  job.say = [](absl::string_view line) { std::cout << line << std::endl; };
  job.trainer = [&config](const std::string& site) {
    return MakeTorchTrainer({.site = site, .config = config.site});
  };
  const absl::StatusOr<AgentReport> report = RunAgentJob(config, job);
  return report.ok() ? 0 : Fail(report.status());
}

}  // namespace

int main(int argc, char** argv) {
  std::string config_file, token, site, role = "site", instructions = "auto";
  std::vector<std::string> overrides;
  bool print_config = false;
  CLI::App app("A site's part in a federated run (docs/federated.md).");
  app.add_option("--config", config_file, "YAML file (docs/federated-configuration.md)")
      ->required();
  app.add_option("overrides", overrides, "key.path=value, e.g. agent.aggregator=HOST:7443");
  app.add_flag("--print-config", print_config, "print the whole configuration and stop");
  app.add_option("--instructions", instructions,
                 "use no newer instructions than auto, baseline, avx2 or avx512");
  CLI::App* enrol = app.add_subcommand("enrol", "get the site's first certificate")->fallthrough();
  enrol->add_option("--token", token, "of `ds_pki token`")->required();
  enrol->add_option("--site", site, "that the token is for")->required();
  enrol->add_option("--role", role, "site or operator")->capture_default_str();
  const CLI::App* check =
      app.add_subcommand("check", "try name, port, TLS, certificates, version and clock")
          ->fallthrough();
  CLI11_PARSE(app, argc, argv);

  ds::SetUpLog(ds::LogLevel::kInfo, /*rank=*/-1);
  const absl::Status limited = ds::LimitInstructions(instructions);
  if (!limited.ok()) return Fail(limited);
  const absl::StatusOr<AgentConfig> config = ReadAgentConfig(config_file, overrides);
  if (!config.ok()) return Fail(config.status());
  if (print_config) {
    std::cout << PrintAgentConfig(*config);
    return 0;
  }
  if (*enrol) {
    const absl::Status enrolled = EnrolAgent(*config, token, site, role);
    if (!enrolled.ok()) return Fail(enrolled);
    std::printf("%s is enrolled; its key and certificate are in %s\n", site.c_str(),
                config->identity.c_str());
    return 0;
  }
  return *check ? Check(*config) : Run(*config);
}
