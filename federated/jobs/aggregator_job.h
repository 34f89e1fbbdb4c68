// What ds_aggregator does after it has read its arguments: a run from its configuration to its
// folder, which a kill at any moment does not lose.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "federated/config/aggregator_config.h"
#include "federated/wire/messages.h"

namespace ds::federated {

// What a program was asked for while it runs, by a signal: only ever raised.
enum class StopLevel { kRun, kEndRun, kLeave };

struct AggregatorJobOptions {
  bool new_run = false;                    // also where the last run of this name has not ended
  std::vector<std::string> command;        // as typed, for the run's folder
  std::string evaluator = "ds_evaluator";  // the program
  bool print = true;                       // the table, or lines, on stdout
  // kEndRun: the run ends with the round that is under way. kLeave: the program ends now, and goes
  // on with the run when it is started again. May be null.
  const std::atomic<StopLevel>* stop = nullptr;
  // Called once agents can connect, with the port and the run's folder. May be empty.
  std::function<void(int port, const std::string& folder)> listening;
};

// Where the last run of this name in run.output has not ended, goes on with it. How the run ended;
// kRunning after kLeave.
absl::StatusOr<EndState> RunAggregatorJob(const AggregatorConfig& config,
                                          const AggregatorJobOptions& options);

}  // namespace ds::federated
