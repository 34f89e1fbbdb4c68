// A whole run in one process: the aggregator and the agents as they are, over a store and vaults in
// memory, with sites that have no data but an optimum each. A few threads move a thousand sites, a
// step of one at a time. For trying out options, and for tests at scale.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/agent/faulty_client.h"
#include "federated/aggregator/observer.h"
#include "federated/options/options.h"
#include "federated/simulate/virtual_trainer.h"

namespace ds::federated {

struct SimulationOptions {
  int64_t sites = 1000;  // >= 1; round.wait_for is all of them
  RunOptions run;
  VirtualProblem problem;
  int threads = 0;     // that move sites; 0: the cores there are
  LinkFaults faults;   // of each site's link, its seed different at each
  double absent = 0;   // share of the updates that a site never makes, [0, 1)
  std::string folder;  // existing, for the models' files
  absl::Duration patience = absl::Minutes(10);                // for the whole run
  std::function<void(const RoundReport& round)> round_ended;  // may be empty
};

struct SimulationReport {
  EndState end = EndState::kRunning;
  std::string reason;
  int64_t version = 0;
  std::string model_digest;
  std::vector<RoundReport> rounds;
  int64_t agreeing = 0;  // sites that ended with this digest
  double distance = 0;   // root mean square of the model's weights to the mean of the optima
  double seconds = 0;
};

// InvalidArgument for options that make no sense; a site's own error where one has left the run;
// DeadlineExceeded after `patience`.
absl::StatusOr<SimulationReport> RunSimulation(const SimulationOptions& options);

}  // namespace ds::federated
