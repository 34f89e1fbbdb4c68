// ds_evaluator: LibTorch for ds_aggregator, which starts it: makes the first model, tests each
// published one on the server's data, writes the last one's files. Speaks JSON lines on stdin and
// stdout (federated/training/evaluator_loop.h).
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/log.h"
#include "federated/training/evaluator_loop.h"

int main(int argc, char** argv) {
  std::signal(SIGINT, SIG_IGN);  // a terminal's Ctrl-C is for the aggregator, which ends us
  std::string config;
  std::vector<std::string> overrides;
  int64_t rounds = 1;
  CLI::App app("Makes and tests models for ds_aggregator, which starts it.");
  app.add_option("--config", config, "the task: a configuration of ds_train")->required();
  app.add_option("--rounds", rounds, "of the run")->check(CLI::PositiveNumber);
  app.add_option("overrides", overrides, "key.path=value of the task");
  CLI11_PARSE(app, argc, argv);

  ds::SetUpLog(ds::LogLevel::kWarning, /*rank=*/-1);
  const absl::StatusOr<ds::federated::FederatedTask> task =
      ds::federated::ReadTask(config, overrides, rounds);
  if (!task.ok()) {
    std::fprintf(stderr, "ds_evaluator: %s\n", std::string(task.status().message()).c_str());
    return 1;
  }
  ds::federated::EvaluatorLoop(*task).Run(std::cin, std::cout);
  return 0;
}
