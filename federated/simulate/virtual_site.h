// A simulated site: an agent that a pool's threads move on whenever its situation has changed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "federated/agent/agent.h"
#include "federated/agent/faulty_client.h"
#include "federated/agent/inprocess.h"
#include "federated/simulate/virtual_trainer.h"

namespace ds::federated {

struct VirtualSiteOptions {
  std::string site;
  VirtualProblem problem;
  LinkFaults faults;
  double absent = 0;
};

// All references must outlive it, and the pool must be done with it (Close all, then Wait) before.
class VirtualSite {
 public:
  VirtualSite(const VirtualSiteOptions& options, FederationService& service, SiteFiles& files,
              ThreadPool& pool);
  ~VirtualSite();

  // Joins and watches, on the pool.
  void Start();
  // Steps that are queued do nothing, and no other ones follow.
  void Close();

  bool done() const;  // the run has ended for it, or it has left
  absl::Status status() const;
  AgentReport report() const;

 private:
  void Schedule() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Turn() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Join();
  absl::Status Step(const Situation& situation);
  bool IsAbsent(int64_t round) const;

  const VirtualSiteOptions options_;
  const Caller caller_;
  FederationService& service_;
  SiteFiles& files_;
  ThreadPool& pool_;
  InProcessClient link_;
  FaultyClient client_;
  const std::unique_ptr<LocalTrainer> trainer_;
  // Only a turn touches them, and there is one at a time.
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<Subscription> subscription_;

  mutable Mutex mutex_;
  std::optional<Situation> newest_ ABSL_GUARDED_BY(mutex_);
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
