// Set-up and masks; what is answered is in vaulted_agent_unmask.cc.
#include "federated/secure/site/vaulted_agent.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "federated/secure/setup/payload.h"

namespace ds::federated::secure {
namespace {

bool SameRound(const SecureRound& a, const SecureRound& b) {
  return a.run == b.run && a.epoch == b.epoch && a.index == b.index && a.round == b.round &&
         a.base_digest == b.base_digest && a.bits == b.bits && a.values == b.values;
}

absl::StatusOr<IntegerVector> UnpackRecord(const RoundRecord& record) {
  return Unpack(absl::MakeConstSpan(reinterpret_cast<const std::byte*>(record.packed.data()),
                                    record.packed.size()),
                record.round.bits, record.round.values);
}

}  // namespace

std::string VaultedAgent::RecordName(const RecordKey& key) {
  return absl::StrCat("round.", key.first, ".", key.second);
}

absl::Status VaultedAgent::Restore() {
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> names, vault_.Names());
  for (const std::string& name : names) {
    const std::vector<std::string> parts = absl::StrSplit(name, '.');
    int64_t epoch = -1;
    if (name == "ended")
      return absl::FailedPreconditionError(
          absl::StrCat("run ", run_, " has ended at this site; its masks are gone"));
    if (name == "epochs") {
      DS_ASSIGN_OR_RETURN(const std::string value, vault_.Get(name));
      PayloadReader in(value, "the last set-up in the site's vault");
      last_epoch_ = std::max(last_epoch_, in.I64());
      DS_RETURN_IF_ERROR(in.Finish());
    } else if (parts[0] == "keys" && parts.size() == 2 && absl::SimpleAtoi(parts[1], &epoch)) {
      DS_ASSIGN_OR_RETURN(epochs_[epoch], AgentEpoch::Restore({run_, epoch}, vault_));
      last_epoch_ = std::max(last_epoch_, epoch);
    } else if (parts[0] == "round") {
      DS_ASSIGN_OR_RETURN(const std::string value, vault_.Get(name));
      DS_ASSIGN_OR_RETURN(RoundRecord record, DecodeRoundRecord(value));
      const RecordKey key(record.round.epoch, record.round.index);
      if (!record.packed.empty()) with_packed_.insert(key);
      record.packed.clear();
      records_[key] = std::move(record);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<AgentEpoch*> VaultedAgent::Epoch(int64_t epoch) const {
  const auto found = epochs_.find(epoch);
  if (found != epochs_.end()) return found->second.get();
  return absl::FailedPreconditionError(
      absl::StrCat("run ", run_, ": this site has no keys of set-up ", epoch));
}

absl::StatusOr<std::string> VaultedAgent::OfferKeys(int64_t epoch) {
  MutexLock lock(mutex_);
  const auto found = epochs_.find(epoch);
  if (found != epochs_.end()) return found->second->offer();
  if (epoch < 0 || epoch <= last_epoch_)
    return absl::PermissionDeniedError(
        absl::StrCat("the aggregator of run ", run_, " asks for keys of set-up ", epoch,
                     "; this site is past set-up ", last_epoch_, " and never makes keys again"));
  DS_ASSIGN_OR_RETURN(
      std::unique_ptr<AgentEpoch> made,
      AgentEpoch::Create({run_, epoch}, options_.rounds_a_setup, *identity_, vault_));
  PayloadWriter last;
  last.I64(epoch);
  DS_RETURN_IF_ERROR(vault_.Put("epochs", last.bytes()));
  last_epoch_ = epoch;
  return (epochs_[epoch] = std::move(made))->offer();
}

absl::StatusOr<std::string> VaultedAgent::SealShares(int64_t epoch, absl::string_view asked) {
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(AgentEpoch* const at, Epoch(epoch));
  return at->SealShares(asked, *identity_, floors_, options_.colluders, vault_);
}

absl::Status VaultedAgent::OpenInbox(int64_t epoch, absl::string_view inbox) {
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(AgentEpoch* const at, Epoch(epoch));
  return at->OpenInbox(inbox, floors_, vault_, &warnings_);
}

absl::StatusOr<RoundRecord> VaultedAgent::RecordOf(const SecureRound& round) const {
  DS_ASSIGN_OR_RETURN(const AgentEpoch* const epoch, Epoch(round.epoch));
  if (!epoch->ready())
    return absl::FailedPreconditionError(absl::StrCat("run ", run_, ", round ", round.round,
                                                      ": set-up ", round.epoch,
                                                      " is not complete at this site"));
  if (round.run != run_ || round.index < 0 || round.index >= epoch->rounds() || round.bits < 1 ||
      round.bits > 32 || round.values < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("round ", round.round, ": run ", round.run, ", index ", round.index, ", ",
                     round.bits, " bits and ", round.values, " values cannot be here"));
  for (const auto& [key, record] : records_) {
    const bool same_keys = key == RecordKey(round.epoch, round.index);
    if (!same_keys && record.round.round != round.round) continue;
    if (SameRound(record.round, round)) return record;
    return absl::PermissionDeniedError(absl::StrCat(
        "the aggregator of run ", run_, " plans round ", round.round, " with masks ", round.index,
        " of set-up ", round.epoch, " on model ", round.base_digest, "; this site has used ",
        same_keys ? "these masks" : "this round's number", " for round ", record.round.round,
        ", masks ", key.second, " of set-up ", key.first, " on model ", record.round.base_digest));
  }
  // Rounds are counted up, abandoned ones too. A training that took too long asks for it as well.
  for (const auto& [key, record] : records_) {
    if (record.round.round > round.round)
      return absl::FailedPreconditionError(absl::StrCat("run ", run_, ": round ", round.round,
                                                        " is over, this site has been in round ",
                                                        record.round.round));
  }
  if (!epoch->Has(round.index))
    return absl::FailedPreconditionError(absl::StrCat("run ", run_, ", round ", round.round,
                                                      ": masks ", round.index, " of set-up ",
                                                      round.epoch, " are dropped already"));
  RoundRecord record{.round = round};
  record.transcript = TranscriptOf(epoch->setup(), epoch->participants(), round);
  return record;
}

absl::Status VaultedAgent::Store(RoundRecord record, absl::Span<const VaultValue> before) {
  const RecordKey key(record.round.epoch, record.round.index);
  const std::string bytes = record.Encode();
  DS_RETURN_IF_ERROR(vault_.PutAll(before, {{RecordName(key), bytes}}));
  if (record.packed.empty()) {
    with_packed_.erase(key);
  } else {
    with_packed_.insert(key);
  }
  record.packed.clear();
  records_[key] = std::move(record);
  return absl::OkStatus();
}

absl::StatusOr<RoundRecord> VaultedAgent::Load(const RecordKey& key) const {
  DS_ASSIGN_OR_RETURN(const std::string entry, vault_.Get(RecordName(key)));
  return DecodeRoundRecord(entry);
}

absl::StatusOr<std::vector<MaskKey>> VaultedAgent::MaskKeys(const RoundRecord& record) const {
  DS_ASSIGN_OR_RETURN(const AgentEpoch* const epoch, Epoch(record.round.epoch));
  const int64_t index = record.round.index;
  const int self = epoch->position();
  std::vector<MaskKey> keys = {{.key = SelfMaskKey(View(epoch->seed(index)), record.transcript)}};
  const X25519Key own(epoch->mask_key(index));
  for (int other : epoch->setup().neighbours().Holders(self)) {
    if (other == self || !epoch->participants()[other]) continue;
    const auto key = PairMaskKey(own, epoch->setup().member(other).mask_keys[index],
                                 record.transcript, self, other);
    if (!key.ok())
      return absl::PermissionDeniedError(
          absl::StrCat(epoch->setup().member(other).site, " gave ", key.status().message()));
    keys.push_back({.key = *key, .take = self > other});
  }
  return keys;
}

// Masked once more and compared, so that no round has to hash its update for one that is sent
// again.
absl::StatusOr<IntegerVector> VaultedAgent::MaskedAlready(const RoundRecord& record,
                                                          IntegerVector values) const {
  const RecordKey key(record.round.epoch, record.round.index);
  if (!with_packed_.contains(key))
    return absl::FailedPreconditionError(absl::StrCat("round ", record.round.round, " is over"));
  DS_ASSIGN_OR_RETURN(const RoundRecord stored, Load(key));
  DS_ASSIGN_OR_RETURN(IntegerVector masked, UnpackRecord(stored));
  DS_ASSIGN_OR_RETURN(const std::vector<MaskKey> keys, MaskKeys(record));
  AddMasks(keys, values);
  if (values.bytes() == masked.bytes()) return masked;
  return absl::FailedPreconditionError(
      absl::StrCat("round ", record.round.round,
                   ": another update was masked already; under the same masks this one would show "
                   "the difference. Send the first one (Masked)"));
}

absl::StatusOr<IntegerVector> VaultedAgent::MaskAndPut(const SecureRound& round,
                                                       IntegerVector values,
                                                       absl::Span<const VaultValue> before) {
  MutexLock lock(mutex_);
  if (values.bits() != round.bits || values.size() != round.values)
    return absl::InvalidArgumentError(
        absl::StrCat("round ", round.round, ": ", values.size(), " values of ", values.bits(),
                     " bits for masks of ", round.values, " values of ", round.bits, " bits"));
  DS_ASSIGN_OR_RETURN(RoundRecord record, RecordOf(round));
  if (record.echoed || record.answered)
    return absl::FailedPreconditionError(
        absl::StrCat("round ", round.round, " was closed before this site's update was masked"));
  if (record.masked) {
    DS_ASSIGN_OR_RETURN(IntegerVector masked, MaskedAlready(record, std::move(values)));
    DS_RETURN_IF_ERROR(vault_.PutAll(before, {}));
    return masked;
  }
  DS_ASSIGN_OR_RETURN(const std::vector<MaskKey> keys, MaskKeys(record));
  AddMasks(keys, values);
  const std::vector<std::byte> packed = Pack(values);
  record.masked = true;
  record.packed.assign(reinterpret_cast<const char*>(packed.data()), packed.size());
  DS_RETURN_IF_ERROR(Store(std::move(record), before));
  return values;
}

absl::StatusOr<IntegerVector> VaultedAgent::Masked(int64_t round) const {
  MutexLock lock(mutex_);
  for (const auto& [key, known] : records_) {
    if (known.round.round != round || !known.masked) continue;
    if (!with_packed_.contains(key))
      return absl::FailedPreconditionError(absl::StrCat("round ", round, " is over"));
    DS_ASSIGN_OR_RETURN(const RoundRecord record, Load(key));
    return UnpackRecord(record);
  }
  return absl::NotFoundError(absl::StrCat("nothing was masked in round ", round));
}

}  // namespace ds::federated::secure
