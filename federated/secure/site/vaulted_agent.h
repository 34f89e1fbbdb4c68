// SecureAgent over a vault: what it holds and how the parts of its work share it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "federated/secure/crypto/mask.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/site/agent_epoch.h"
#include "federated/secure/site/round_record.h"
#include "federated/secure/site/vault_entries.h"

namespace ds::federated::secure {

class VaultedAgent : public SecureAgent {
 public:
  VaultedAgent(const SecureOptions& options, const SecureFloors& floors, std::string run,
               std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<Vault> vault)
      : options_(options),
        floors_(floors),
        run_(std::move(run)),
        identity_(std::move(identity)),
        strict_(floors.strict || options.mode == "strict"),
        vault_(run_, std::move(vault)) {}

  absl::Status Restore();

  absl::StatusOr<std::string> OfferKeys(int64_t epoch) override;
  absl::StatusOr<std::string> SealShares(int64_t epoch, absl::string_view asked) override;
  absl::Status OpenInbox(int64_t epoch, absl::string_view inbox) override;
  bool Ready(int64_t epoch) const override {
    MutexLock lock(mutex_);
    const auto found = epochs_.find(epoch);
    return found != epochs_.end() && found->second->ready();
  }
  absl::StatusOr<IntegerVector> MaskAndPut(const SecureRound& round, IntegerVector values,
                                           absl::Span<const VaultValue> before) override;
  absl::StatusOr<IntegerVector> Masked(int64_t round) const override;
  absl::StatusOr<std::string> Echo(const SecureRound& round, absl::string_view survivors) override;
  absl::StatusOr<std::string> AnswerUnmask(const SecureRound& round,
                                           absl::string_view survivors) override;
  std::vector<std::string> Notes() const override;
  absl::Status CheckCommitted(int64_t round) const override;
  std::vector<std::string> TakeWarnings() override {
    MutexLock lock(mutex_);
    return std::exchange(warnings_, {});
  }
  absl::Status ForgetBefore(int64_t round) override;
  absl::Status EndRun() override;

 private:
  using RecordKey = std::pair<int64_t, int64_t>;  // epoch, index

  static std::string RecordName(const RecordKey& key);
  absl::StatusOr<AgentEpoch*> Epoch(int64_t epoch) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The round's record, a new one where it is the first call for it. PermissionDenied where the
  // keys or the round's number were used for something else.
  absl::StatusOr<RoundRecord> RecordOf(const SecureRound& round) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `before`: put first, as they are.
  absl::Status Store(RoundRecord record, absl::Span<const VaultValue> before = {})
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What was masked for the round, if it was made of `values`.
  absl::StatusOr<IntegerVector> MaskedAlready(const RoundRecord& record, IntegerVector values) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // With `packed`.
  absl::StatusOr<RoundRecord> Load(const RecordKey& key) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::vector<MaskKey>> MaskKeys(const RoundRecord& record) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckSurvivors(const RoundRecord& record, const Survivors& survivors,
                              const std::vector<std::string>& sites)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  const RoundRecord* LastAnswered(int64_t before) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const SecureOptions options_;
  const SecureFloors floors_;
  const std::string run_;
  const std::shared_ptr<const SiteIdentity> identity_;
  const bool strict_;
  mutable Mutex mutex_;
  VaultEntries vault_ ABSL_GUARDED_BY(mutex_);
  int64_t last_epoch_ ABSL_GUARDED_BY(mutex_) = -1;  // for which keys were made, ever
  std::map<int64_t, std::unique_ptr<AgentEpoch>> epochs_ ABSL_GUARDED_BY(mutex_);
  // Without `packed`, which stays in the vault.
  std::map<RecordKey, RoundRecord> records_ ABSL_GUARDED_BY(mutex_);
  std::set<RecordKey> with_packed_ ABSL_GUARDED_BY(mutex_);  // in the vault
  std::vector<std::string> warnings_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated::secure
