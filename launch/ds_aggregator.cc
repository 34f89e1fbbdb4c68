// ds_aggregator: the middle of a federated run. Goes on with the last run where it has not ended.
//   Ctrl-C ends the run with its present round; a second one, or SIGTERM, leaves it to be gone on
//   with later.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/log.h"
#include "base/process/spawn.h"
#include "federated/jobs/aggregator_job.h"

namespace {

using ds::federated::StopLevel;

std::atomic<StopLevel> stop_level = StopLevel::kRun;
static_assert(std::atomic<StopLevel>::is_always_lock_free);

extern "C" void OnSignal(int number) {
  const bool first = stop_level.load() == StopLevel::kRun;
  stop_level = number == SIGINT && first ? StopLevel::kEndRun : StopLevel::kLeave;
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "ds_aggregator: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string config_file;
  std::vector<std::string> overrides;
  bool print_config = false;
  ds::federated::AggregatorJobOptions job;
  CLI::App app("Trains a model over sites whose data stay with them (docs/federated.md).");
  app.add_option("--config", config_file, "YAML file (docs/federated-configuration.md)")
      ->required();
  app.add_option("overrides", overrides, "key.path=value, e.g. round.rounds=20 update.bits=4");
  app.add_flag("--print-config", print_config, "print the whole configuration and stop");
  app.add_flag("--new", job.new_run, "begin a new run, also where the last one has not ended");
  CLI11_PARSE(app, argc, argv);

  ds::SetUpLog(ds::LogLevel::kInfo, /*rank=*/-1);
  const absl::StatusOr<ds::federated::AggregatorConfig> config =
      ds::federated::ReadAggregatorConfig(config_file, overrides);
  if (!config.ok()) return Fail(config.status());
  if (print_config) {
    std::cout << ds::federated::PrintAggregatorConfig(*config);
    return 0;
  }
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  job.command = {argv, argv + argc};
  job.evaluator = ds::Beside("ds_evaluator");
  job.stop = &stop_level;
  const absl::StatusOr<ds::federated::EndState> end = RunAggregatorJob(*config, job);
  if (!end.ok()) return Fail(end.status());
  return *end == ds::federated::EndState::kFailed ? 2 : 0;
}
