// A site's part in a run, as steps that whoever drives it calls: RunAgent with two threads
// (run_agent.h), the simulation with a few threads for a thousand sites. All that a step does
// follows from the newest situation and from what the site's vault holds, so that steps may be
// repeated, skipped, and interrupted by a kill.
//
// The site holds the global model and advances it itself by the published integers; where its
// digest is not the aggregator's, the site leaves. docs/federated-agent.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "federated/agent/local_trainer.h"
#include "federated/agent/policy.h"
#include "federated/agent/secure_part.h"
#include "federated/agent/site_files.h"
#include "federated/agent/site_updates.h"
#include "federated/secure/secure_agent.h"
#include "federated/update/global_model.h"
#include "federated/wire/service.h"

namespace ds::federated {

struct AgentOptions {
  AgentPolicy policy;
  std::function<void(absl::string_view line)> say;  // for people; may be empty; any thread
};

// What an agent works with; all of it outlives the agent, and no other agent uses trainer and
// vault.
struct AgentParts {
  FederationClient* client = nullptr;
  LocalTrainer* trainer = nullptr;
  SiteFiles* files = nullptr;
  std::shared_ptr<Vault> vault;
  std::shared_ptr<const SiteIdentity> identity;  // its name is the site's
};

struct AgentReport {
  EndState end = EndState::kRunning;
  std::string reason;
  int64_t version = 0;  // of the site's model
  std::string model_digest;
  int64_t trained = 0;  // updates made here since the start
  int64_t counted = 0;  // of the site's, known to be in a sum
};

// An update that is due. Copies, since the model may go on while the site trains.
struct AgentJob {
  RoundPlan plan;
  bool resend = false;  // it is made already
  std::vector<float> weights, control, own_control;
};

// What a step left to do.
struct AgentStep {
  bool ended = false;
  std::optional<AgentJob> job;  // again in each step as long as it is due and not begun
};

// Which errors end an agent: PermissionDenied (policy, a digest that does not match, revoked),
// Unauthenticated, InvalidArgument, DataLoss (the site's own disk), Internal (training fails),
// Unimplemented. On others: the same step again, later, or a newer situation.
bool LeavesTheRun(const absl::Status& status);

// Thread-safe: React and Tidy on one thread, Work on another may run side by side.
class Agent {
 public:
  // Says hello, holds the offer against the site's policy, fetches the model, opens the trainer,
  // joins.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(AgentOptions options, AgentParts parts);
  ~Agent();

  // Catches up with the model, settles whether the last update counted, answers secure
  // aggregation's requests.
  absl::StatusOr<AgentStep> React(const Situation& situation) ABSL_LOCKS_EXCLUDED(mutex_);
  // Drops what earlier rounds have left of secrets. Due after each React; beside Work, so that no
  // round waits for the disk.
  absl::Status Tidy();
  // Trains (unless it is a resend), keeps the update, uploads and commits it. OK too where the
  // round was over before: then nothing left the site. A job that failed may be given again.
  absl::Status Work(const AgentJob& job) ABSL_LOCKS_EXCLUDED(mutex_);
  // The job's round is still open, as far as is known here.
  bool IsDue(const AgentJob& job) const { return open_round_ == job.plan.round; }

  // Asks a training that is under way to end: the process is to stop.
  void Interrupt() { parts_.trainer->Interrupt(); }

  AgentReport Report() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Agent(AgentOptions options, AgentParts parts, RunOffer offer);

  absl::Status Open();
  absl::StatusOr<JoinReply> JoinRun() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool asynchronous() const { return offer_.options.strategy.name == "fedbuff"; }
  void Say(absl::string_view line) const;

  absl::Status MakeModel() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CatchUp(const Situation& situation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TakeSnapshot(const Situation& situation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TakeVersion(const PublishedRef& ref) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Settle(const Situation& situation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<AgentJob> DueJob(const Situation& situation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EndRun(const Situation& situation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  bool BeginTraining(const AgentJob& job) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Train(const AgentJob& job) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status TrainingFailed(const AgentJob& job, const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status KeepUpdate(const AgentJob& job, const TrainedUpdate& trained)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status KeepMasked(const AgentJob& job, SiteUpdate update)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<IntegerVector> Masked(const AgentJob& job, const SiteUpdate& update)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Send(const AgentJob& job) ABSL_LOCKS_EXCLUDED(mutex_);
  void CommitAnswered(const AgentJob& job, const CommitReply& reply) ABSL_LOCKS_EXCLUDED(mutex_);

  struct MaskedUpdate {
    int64_t round = -1;
    IntegerVector values;
  };

  const AgentOptions options_;
  const AgentParts parts_;
  const RunOffer offer_;
  // Null: secure aggregation is off, or no_masks_ says why nothing can be masked; then the site
  // takes no part, and only learns of the end.
  std::unique_ptr<SecurePart> secure_;
  absl::Status no_masks_;

  std::atomic<int64_t> open_round_ = -1;  // of the newest situation, while it collects
  mutable Mutex mutex_;
  LocalModel initial_ ABSL_GUARDED_BY(mutex_);  // until there is a model
  std::unique_ptr<GlobalModel> model_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<SiteUpdates> updates_ ABSL_GUARDED_BY(mutex_);
  std::optional<MaskedUpdate> masked_ ABSL_GUARDED_BY(mutex_);  // not sent yet; in the vault too
  int64_t training_round_ ABSL_GUARDED_BY(mutex_) = -1;         // under way; -1: none
  int64_t given_up_round_ ABSL_GUARDED_BY(mutex_) = -1;         // its update failed, or was refused
  int64_t recorded_round_ ABSL_GUARDED_BY(mutex_) = -1;         // as the aggregator answered
  int failed_in_a_row_ ABSL_GUARDED_BY(mutex_) = 0;
  AgentReport report_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
