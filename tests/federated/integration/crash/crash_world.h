// A federation whose aggregator dies and comes again, and whose sites do too: agents as they are,
// the aggregator as it is, on a disk that loses what was not durable.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "federated/aggregator/aggregator.h"
#include "tests/federated/agent/federation.h"
#include "tests/federated/integration/crash/crash_store.h"
#include "tests/federated/integration/crash/run_log.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

struct AggregatorDeath {
  int64_t at = 0;
  // Instead of `at`: after the first entry of the log that holds this text.
  std::string entry;
  bool with_effect = false;
  bool power = false;  // goes down with the machine
};

struct SiteDeath {
  int site = 0;
  int at = 0;
  bool with_effect = false;
  bool comes_back = true;
};

struct Troubles {
  uint64_t seed = 1;
  std::vector<AggregatorDeath> aggregator;  // one life each; the one after the last is not ended
  std::vector<SiteDeath> sites;
  LinkFaults link;  // of every site, each with a seed of its own
};

struct WorldOutcome {
  std::vector<absl::StatusOr<AgentReport>> reports;
  absl::StatusOr<RunLog> log = absl::UnknownError("no log");
  absl::Status model = absl::UnknownError("no log");  // CheckModels
  int64_t lives = 0;
  int64_t steps = 0;              // of the aggregator's first life
  absl::Duration slowest_return;  // from a death to the first answered call
  size_t blobs = 0;               // on the disk at the end
  // Round → digests of what sites were told about its survivors.
  std::map<int64_t, std::set<std::string>> told;
};

// `trainer` at a site whose machine takes at least so long.
std::unique_ptr<LocalTrainer> MakeSlowTrainer(std::unique_ptr<LocalTrainer> trainer,
                                              absl::Duration least);

class CrashWorld {
 public:
  CrashWorld(int sites, const RunOptions& options);
  // Sites train for at least so long.
  void SlowTraining(absl::Duration least) { training_ = least; }
  MachineLimits& limits() { return limits_; }

  // Until every site's run has ended, and the aggregator's.
  WorldOutcome Run(const Troubles& troubles);

 private:
  friend class MortalService;
  friend class ReconnectingClient;
  struct Life;

  absl::StatusOr<std::shared_ptr<Life>> Begin(const AggregatorDeath& death);
  std::shared_ptr<Life> Current();
  void SetCurrent(std::shared_ptr<Life> life);
  void LiveSite(size_t index, const Troubles& troubles, absl::StatusOr<AgentReport>& report);
  absl::Status Supervise(const Troubles& troubles, WorldOutcome& outcome);
  void Told(int64_t round, const std::string& digest);

  Federation federation_;
  MachineLimits limits_;
  absl::Duration training_ = absl::ZeroDuration();
  const TempFolder folder_;
  CrashDisk disk_;
  Mutex mutex_;
  std::shared_ptr<Life> life_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, std::set<std::string>> told_ ABSL_GUARDED_BY(mutex_);
  int64_t sites_living_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ds::federated
