// A federation of test sites around one aggregator, each on its own thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "federated/aggregator/aggregator.h"
#include "tests/federated/agent/fake_aggregator.h"
#include "tests/federated/agent/test_site.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

struct Federation {
  explicit Federation(int sites, const RunOptions& options = FourRounds());

  static RunOptions FourRounds();
  FakeAggregator::Options ForFake() const;
  // The real one, over a store in memory that lasts as long as the federation.
  AggregatorOptions ForAggregator() const;
  std::unique_ptr<Aggregator> OpenAggregator() const;

  // All sites until the run's end. `crash` (may be null) ends the first site's process once; it is
  // started again then.
  std::vector<absl::StatusOr<AgentReport>> Run(FederationService& service, CrashPoint* crash);

  VirtualProblem problem;
  RunOffer offer;
  std::unique_ptr<TempFolder> folder = std::make_unique<TempFolder>();
  std::vector<SiteHome> sites;
  std::shared_ptr<Store> store = MemoryStore();
};

}  // namespace ds::federated
