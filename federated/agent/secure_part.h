// What secure aggregation asks a site for, from one situation to the next: the calls on SecureAgent
// that are due, each answer sent until it has arrived.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/secure/secure_agent.h"
#include "federated/update/global_model.h"
#include "federated/wire/service.h"

namespace ds::federated {

// Thread-safe.
class SecurePart {
 public:
  SecurePart(RunOffer offer, std::unique_ptr<SecureAgent> agent, FederationClient& client);

  // Does what the situation asks for. `model` has caught up with it: its own digest is what masks
  // and answers are bound to, never what the aggregator says it is. What cannot be done now
  // (FailedPrecondition) is left out and named in TakeWarnings.
  absl::Status React(const Situation& situation, const GlobalModel& model)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Drops the secrets of rounds before the one that React has seen last. Several writes to the
  // disk, for which no round has to wait.
  absl::Status Forget() ABSL_LOCKS_EXCLUDED(mutex_);
  bool Ready(const RoundPlan& plan) const;
  // The masked update, durable; `before` too, put into the vault with it.
  absl::StatusOr<IntegerVector> Mask(const RoundPlan& plan, const std::string& base_digest,
                                     const IntegerVector& levels, int modulus_bits,
                                     absl::Span<const VaultValue> before);
  std::vector<std::string> Notes() const { return agent_->Notes(); }
  std::vector<std::string> TakeWarnings() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status EndRun() { return agent_->EndRun(); }

 private:
  absl::Status Answer(const Situation& situation, const GlobalModel& model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AnswerPayload(const Situation& situation, const GlobalModel& model)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<SecureRound> RoundAsked(const SecureAsked& asked, const RoundPlan& plan,
                                         const GlobalModel& model) const;
  absl::Status Send(int64_t epoch, int64_t round, SecureStep step, std::string payload);

  const RunOffer offer_;
  const std::unique_ptr<SecureAgent> agent_;
  FederationClient& client_;
  Mutex mutex_;
  // Epoch → its request that was answered last. Two epochs' may come by turns.
  std::map<int64_t, std::string> done_ ABSL_GUARDED_BY(mutex_);
  std::string payload_digest_ ABSL_GUARDED_BY(mutex_);  // of payload_
  std::string payload_ ABSL_GUARDED_BY(mutex_);
  int64_t round_ ABSL_GUARDED_BY(mutex_) = -1;             // that is under way
  int64_t forgotten_before_ ABSL_GUARDED_BY(mutex_) = -1;  // round
  std::vector<std::string> warnings_ ABSL_GUARDED_BY(mutex_);
  std::string last_warning_ ABSL_GUARDED_BY(mutex_);  // each is said once, however often it is so
};

}  // namespace ds::federated
