// ds_train: trains a network as a YAML file says, on one rank or, under mpirun, on many.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/log.h"
#include "comm/factory/factory.h"
#include "comm/mpi/mpi_communicator.h"
#include "jobs/config/train_schema.h"
#include "jobs/train/train_job.h"
#include "launch/instructions.h"
#include "launch/waiting.h"

namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool print_config = false;
  std::string instructions = "auto";
  ds::TrainJobOptions job;
};

// Ranks that fail alike would all say the same: rank 0 speaks at once, and with it the job ends;
// another rank that failed alone speaks a moment later.
int Fail(const absl::Status& status, const ds::LaunchInfo& launch) {
  constexpr unsigned kPauseUs = 1'500'000;
  if (launch.rank != 0) usleep(kPauseUs);
  std::fprintf(stderr, "ds_train: %s%s\n",
               launch.rank == 0 ? "" : ("rank " + std::to_string(launch.rank) + ": ").c_str(),
               std::string(status.message()).c_str());
  ds::AbortMpiJob(1);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const ds::LaunchInfo launch = ds::DetectLaunch();
  ds::WaitPassivelyAmongRanks(launch, argv);
  Arguments arguments;
  CLI::App app("Trains a network. Under mpirun every rank takes its share of the data.");
  app.add_option("--config", arguments.config, "YAML file (docs/configuration.md)")->required();
  app.add_option("overrides", arguments.overrides,
                 "key.path=value, e.g. run.epochs=2 optimizer.learning_rate=0.05");
  app.add_flag("--print-config", arguments.print_config,
               "print the whole configuration with defaults and stop");
  app.add_flag("--dry-run", arguments.job.dry_run, "build everything, run one step, write nothing");
  app.add_flag("--resume", arguments.job.resume,
               "go on from the newest checkpoint of this run.output/run.name");
  app.add_option(
      "--instructions", arguments.instructions,
      "use no newer instructions than auto, baseline, avx2 or avx512: how older processors fare");
  CLI11_PARSE(app, argc, argv);

  ds::SetUpLog(ds::LogLevel::kInfo, launch.size > 1 ? launch.rank : -1);
  const absl::Status limited = ds::LimitInstructions(arguments.instructions);
  if (!limited.ok()) return Fail(limited, launch);
  const absl::StatusOr<ds::TrainConfig> config =
      ds::ReadTrainConfig(arguments.config, arguments.overrides);
  if (!config.ok()) return Fail(config.status(), launch);
  if (arguments.print_config) {
    if (launch.rank == 0) std::cout << ds::PrintTrainConfig(*config);
    return 0;
  }
  absl::StatusOr<std::unique_ptr<ds::Communicator>> communicator =
      ds::CreateCommunicator(config->comm);
  if (!communicator.ok()) return Fail(communicator.status(), launch);
  arguments.job.command = {argv, argv + argc};
  const absl::Status status = ds::RunTrainJob(*config, arguments.job, **communicator).status();
  return status.ok() ? 0 : Fail(status, launch);
}
