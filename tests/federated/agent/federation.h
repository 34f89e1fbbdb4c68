// A federation of test sites around one aggregator, each on its own thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/federated/agent/fake_aggregator.h"
#include "tests/federated/agent/test_site.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

struct Federation {
  explicit Federation(int sites, const RunOptions& options = FourRounds());

  static RunOptions FourRounds();
  FakeAggregator::Options ForFake() const;

  // All sites until the run's end. `crash` (may be null) ends the first site's process once; it is
  // started again then.
  std::vector<absl::StatusOr<AgentReport>> Run(FederationService& service, CrashPoint* crash);

  VirtualProblem problem;
  RunOffer offer;
  std::unique_ptr<TempFolder> folder = std::make_unique<TempFolder>();
  std::vector<SiteHome> sites;
};

}  // namespace ds::federated
