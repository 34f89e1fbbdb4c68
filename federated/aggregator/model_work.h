// The aggregator's own copy of the model, and all that takes long with it: combining a round's
// updates, the server's step, snapshots. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "federated/aggregator/aggregator.h"
#include "federated/aggregator/publications.h"
#include "federated/aggregator/secure_epochs.h"
#include "federated/strategy/strategy.h"

namespace ds::federated {

// One publication to be made.
struct PublishJob {
  int64_t round = 0;
  int64_t version = 0;  // that is made
  std::vector<HeldUpdate> updates;
  const SecureEpochs* secure = nullptr;  // null: in the open
  bool add_noise = false;                // privacy.mechanism is central
};

class ModelWork {
 public:
  ModelWork(const AggregatorOptions& options, std::shared_ptr<Store> store);

  // Version 0 under the run's options.
  absl::StatusOr<ModelFixed> Fix(const RunOptions& options, int64_t samples_reference,
                                 int64_t maximum_sites);
  // The log's last version, from the newest snapshot and what was published since. DataLoss where a
  // digest is not the log's.
  absl::Status Restore(const RoundMachine& machine, const Publications& publications);
  // The sum, durable, and the model one version on.
  absl::StatusOr<RoundPublished> Publish(const PublishJob& job);
  absl::StatusOr<SnapshotTaken> Snapshot();
  const GlobalModel* model() const { return model_.get(); }

 private:
  absl::StatusOr<Published> Combine(const PublishJob& job) const;
  absl::StatusOr<Published> CombineMasked(const PublishJob& job) const;
  std::string ScratchPath() const;

  const AggregatorOptions& options_;
  const std::shared_ptr<Store> store_;
  std::unique_ptr<Strategy> strategy_;
  std::unique_ptr<GlobalModel> model_;
};

}  // namespace ds::federated
