// The aggregator of a run: a FederationService over a store's log. Every decision is a record that
// is durable before it has an effect outside, so the process may be killed at any moment: opened
// again on its store, the aggregator stands where it stood. docs/federated.md, "A round".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/aggregator/observer.h"
#include "federated/round/round_machine.h"
#include "federated/secure/secure_agent.h"
#include "federated/store/store.h"
#include "federated/wire/service.h"

namespace ds::federated {

struct InitialModel {
  ModelLayout layout;
  std::vector<float> weights;
};

struct AggregatorOptions {
  RunOffer offer;             // run empty: the log's, or a random one where there is none
  int64_t maximum_sites = 0;  // in one sum; 0: goal + spare, else wait_for, else 64; rounded up to
                              // a power of two, which costs no bit
  // Version 0, as every site reads it from offer.model, whose bytes are in the store. Called once,
  // and after a restart only where no snapshot has been taken yet.
  std::function<absl::StatusOr<InitialModel>()> initial;
  std::shared_ptr<const SiteIdentity> identity;  // verifies signatures; secure aggregation only
  std::string scratch;                           // existing folder, for models being written
  MachineLimits limits;
  int64_t snapshot_every = 16;      // versions, >= 1
  int64_t inline_bytes = 16 << 10;  // blobs up to here lie in the log itself; >= 0
  std::string program = "ds_aggregator";
  std::function<absl::Time()> wall_clock;  // the date, for ds_agent check; null: it is not said
  std::shared_ptr<Observer> observer;      // may be null
  // Tests: called at each boundary that a crash may fall on ("append", "appended", "publish",
  // "reply"), by whichever thread is there.
  std::function<void(absl::string_view)> boundary;
};

class Aggregator : public FederationService {
 public:
  // Begins the run, or goes on with the one in the store's log. FailedPrecondition: the log is of
  // another offer. DataLoss: what is in the store is not what was written.
  static absl::StatusOr<std::unique_ptr<Aggregator>> Open(AggregatorOptions options,
                                                          std::shared_ptr<Store> store);

  // The run ends with its present round, as kStopped.
  virtual absl::Status Stop(const std::string& reason) = 0;
  // The run's end, with its last snapshot taken. DeadlineExceeded after `patience`; Unavailable
  // where the log cannot be written any more.
  virtual absl::StatusOr<RunEnded> WaitForEnd(absl::Duration patience) = 0;
  virtual absl::StatusOr<RunReport> Report() = 0;
  virtual const RunOffer& offer() const = 0;
};

}  // namespace ds::federated
