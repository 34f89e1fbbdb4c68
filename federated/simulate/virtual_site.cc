#include "federated/simulate/virtual_site.h"

#include <utility>

#include "absl/time/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "federated/simulate/memory_vault.h"
#include "federated/simulate/virtual_identity.h"

namespace ds::federated {

VirtualSite::VirtualSite(const VirtualSiteOptions& options, FederationService& service,
                         SiteFiles& files, ThreadPool& pool)
    : options_(options),
      caller_({.site = options.site,
               .role = "site",
               .certificate = MakeVirtualIdentity(options.site)->certificate(),
               .serial = options.site}),
      service_(service),
      files_(files),
      pool_(pool),
      link_(service, caller_),
      client_(link_, options.faults),
      trainer_(MakeVirtualTrainer(options.problem, options.site)) {}

// Before the members that a last situation would touch.
VirtualSite::~VirtualSite() { subscription_.reset(); }

void VirtualSite::Start() {
  MutexLock lock(mutex_);
  Schedule();
}

void VirtualSite::Schedule() {
  if (scheduled_ || closed_ || done_) return;
  scheduled_ = true;
  pool_.Submit([this] { Turn(); });
}

void VirtualSite::Turn() {
  std::optional<Situation> situation;
  {
    MutexLock lock(mutex_);
    if (closed_) {
      scheduled_ = false;
      return;
    }
    situation = newest_;
  }
  const absl::Status stepped = agent_ == nullptr       ? Join()
                               : situation.has_value() ? Step(*situation)
                                                       : absl::OkStatus();
  const bool again = !stepped.ok() && !LeavesTheRun(stepped);
  if (again) absl::SleepFor(absl::Milliseconds(1));  // its link is bad; the others have their turn
  MutexLock lock(mutex_);
  scheduled_ = false;
  if (LeavesTheRun(stepped)) {
    status_ = stepped;
    done_ = true;
  }
  const bool changed =
      newest_.has_value() && (!situation.has_value() || newest_->number != situation->number);
  if (changed || (again && !absl::IsFailedPrecondition(stepped))) Schedule();
}

absl::Status VirtualSite::Join() {
  DS_ASSIGN_OR_RETURN(agent_, Agent::Start({}, {.client = &client_,
                                                .trainer = trainer_.get(),
                                                .files = &files_,
                                                .vault = std::make_shared<MemoryVault>(),
                                                .identity = MakeVirtualIdentity(options_.site)}));
  DS_ASSIGN_OR_RETURN(subscription_, service_.Watch(caller_, [this](const Situation& situation) {
    MutexLock lock(mutex_);
    newest_ = situation;
    Schedule();
  }));
  return absl::OkStatus();
}

absl::Status VirtualSite::Step(const Situation& situation) {
  DS_ASSIGN_OR_RETURN(const AgentStep step, agent_->React(situation));
  if (step.ended) {
    MutexLock lock(mutex_);
    done_ = true;
    return absl::OkStatus();
  }
  DS_RETURN_IF_ERROR(agent_->Tidy());
  if (!step.job.has_value() || IsAbsent(step.job->plan.round)) return absl::OkStatus();
  return agent_->Work(*step.job);
}

bool VirtualSite::IsAbsent(int64_t round) const {
  CounterRandom random(options_.faults.seed, static_cast<uint64_t>(round), 2);
  return random.NextDouble() < options_.absent;
}

void VirtualSite::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

bool VirtualSite::done() const {
  MutexLock lock(mutex_);
  return done_;
}

absl::Status VirtualSite::status() const {
  MutexLock lock(mutex_);
  return status_;
}

AgentReport VirtualSite::report() const {
  return agent_ == nullptr ? AgentReport{} : agent_->Report();
}

}  // namespace ds::federated
