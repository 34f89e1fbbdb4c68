// A round's second trip, and what is dropped after it.
#include <algorithm>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/setup/survivor_sets.h"
#include "federated/secure/site/survivors_check.h"
#include "federated/secure/site/vaulted_agent.h"

namespace ds::federated::secure {

const RoundRecord* VaultedAgent::LastAnswered(int64_t before) const {
  const RoundRecord* last = nullptr;
  for (const auto& [key, record] : records_) {
    if (!record.answered || record.round.round >= before) continue;
    if (last == nullptr || record.round.round > last->round.round) last = &record;
  }
  return last;
}

absl::Status VaultedAgent::CheckSurvivors(const RoundRecord& record, const Survivors& survivors,
                                          const std::vector<std::string>& sites) {
  DS_ASSIGN_OR_RETURN(const AgentEpoch* const epoch, Epoch(record.round.epoch));
  DS_RETURN_IF_ERROR(
      CheckPrevious(epochs_, *epoch, record, LastAnswered(record.round.round), survivors));
  std::vector<SurvivorSet> earlier;
  for (const auto& [key, other] : records_) {
    if (!other.answered) continue;
    if (other.round.base_digest == record.round.base_digest)
      return absl::FailedPreconditionError(absl::StrCat(
          "round ", record.round.round, " is on the same model as round ", other.round.round,
          ", which this site has answered: two sums on one model are never given"));
    earlier.push_back({.round = other.round.round, .sites = other.sites});
  }
  const SurvivorSet set{.round = record.round.round, .sites = sites};
  const std::string refused =
      CloseSet(earlier, set,
               std::max(floors_.least_difference,
                        options_.refuse_close_sets ? options_.least_difference : int64_t{0}));
  if (!refused.empty()) return absl::FailedPreconditionError(refused);
  const std::string close = CloseSet(earlier, set, options_.least_difference);
  if (!close.empty()) warnings_.push_back(close);
  return absl::OkStatus();
}

absl::StatusOr<std::string> VaultedAgent::Echo(const SecureRound& round, absl::string_view bytes) {
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(RoundRecord record, RecordOf(round));
  DS_ASSIGN_OR_RETURN(const AgentEpoch* const epoch, Epoch(round.epoch));
  const auto survivors = DecodeSurvivors(bytes);
  if (!survivors.ok()) return absl::PermissionDeniedError(survivors.status().message());
  DS_RETURN_IF_ERROR(CheckList(*epoch, record, *survivors));
  const Bytes32 hash = SurvivorsHash(record.transcript, survivors->survivors);
  if ((record.echoed || record.answered) && record.survivors != hash)
    return absl::PermissionDeniedError(absl::StrCat("the aggregator of run ", run_,
                                                    " gives a second list of survivors for round ",
                                                    round.round));
  secure::Echo echo{.header = {run_, round.epoch}, .round = round.round, .survivors = hash};
  echo.signature = epoch->Sign(EchoToSign(echo.header, round.round, hash));
  if (!record.echoed) {
    // The stored update stays until the answer: RecordOf has it not.
    if (record.masked) {
      DS_ASSIGN_OR_RETURN(record, Load({round.epoch, round.index}));
    }
    record.echoed = true;
    record.survivors = hash;
    DS_RETURN_IF_ERROR(Store(std::move(record)));
  }
  return echo.Encode();
}

absl::StatusOr<std::string> VaultedAgent::AnswerUnmask(const SecureRound& round,
                                                       absl::string_view bytes) {
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(RoundRecord record, RecordOf(round));
  DS_ASSIGN_OR_RETURN(const AgentEpoch* const epoch, Epoch(round.epoch));
  const auto survivors = DecodeSurvivors(bytes);
  if (!survivors.ok()) return absl::PermissionDeniedError(survivors.status().message());
  DS_RETURN_IF_ERROR(CheckList(*epoch, record, *survivors));
  const Bytes32 hash = SurvivorsHash(record.transcript, survivors->survivors);
  if ((record.answered || record.echoed) && record.survivors != hash)
    return absl::PermissionDeniedError(absl::StrCat(
        "the aggregator of run ", run_, " asks a second time to unmask round ", round.round,
        ", with other survivors: together the two lists would show one "
        "site's update"));
  if (record.answered) return record.answer;
  if (!epoch->Has(round.index))
    return absl::FailedPreconditionError(
        absl::StrCat("round ", round.round, " is over: this site has dropped its secrets"));
  if (strict_) DS_RETURN_IF_ERROR(CheckEchoes(*epoch, *survivors, hash));
  std::vector<std::string> sites;
  for (size_t i = 0; i < survivors->survivors.size(); ++i) {
    if (survivors->survivors[i]) sites.push_back(epoch->setup().member(static_cast<int>(i)).site);
  }
  DS_RETURN_IF_ERROR(CheckSurvivors(record, *survivors, sites));
  Answer answer{.header = {run_, round.epoch}, .round = round.round, .survivors = hash};
  for (int owner : epoch->setup().neighbours().Holders(epoch->position())) {
    if (!epoch->participants()[owner]) continue;
    const HeldShare share = epoch->Share(owner, round.index);
    const bool survived = survivors->survivors[owner];
    answer.entries.push_back({.owner = static_cast<uint32_t>(owner),
                              .has = survived ? share.seed_there : share.key_there,
                              .share = survived ? share.seed : share.key});
  }
  record.answered = true;
  record.survivors = hash;
  record.sites = std::move(sites);
  record.answer = answer.Encode();
  const std::string sent = record.answer;
  DS_RETURN_IF_ERROR(Store(std::move(record)));
  return sent;
}

std::vector<std::string> VaultedAgent::Notes() const {
  MutexLock lock(mutex_);
  const RoundRecord* last = LastAnswered(INT64_MAX);
  if (last == nullptr) return {};
  const auto epoch = epochs_.find(last->round.epoch);
  if (epoch == epochs_.end()) return {};
  Note note{.header = {run_, last->round.epoch},
            .round = last->round.round,
            .survivors = last->survivors};
  note.signature = epoch->second->Sign(NoteToSign(note.header, note.round, note.survivors));
  return {absl::Base64Escape(note.Encode())};
}

absl::Status VaultedAgent::CheckCommitted(int64_t round) const {
  MutexLock lock(mutex_);
  for (const auto& [key, record] : records_) {
    if (record.round.round == round && record.masked) return absl::OkStatus();
  }
  return absl::DataLossError(absl::StrCat(
      "the aggregator has an update of this site for round ", round, " of run ", run_,
      ", the site's vault knows of none: its folder was put back to an earlier state. Masks that "
      "were used would be used again: leave the run and join a new one"));
}

absl::Status VaultedAgent::ForgetBefore(int64_t round) {
  MutexLock lock(mutex_);
  int64_t epoch = -1, index = -1;  // the latest of the old rounds
  for (auto& [key, record] : records_) {
    if (record.round.round >= round) continue;
    if (key > RecordKey(epoch, index)) std::tie(epoch, index) = key;
    // Not asked for any more: without its bytes.
    if (with_packed_.contains(key)) DS_RETURN_IF_ERROR(Store(record));
  }
  if (epoch < 0) return absl::OkStatus();
  // The notes of the last answered round are signed with its epoch's key.
  const RoundRecord* last = LastAnswered(INT64_MAX);
  for (auto at = epochs_.begin(); at != epochs_.end() && at->first < epoch;) {
    if (last != nullptr && at->first == last->round.epoch) {
      DS_RETURN_IF_ERROR(at->second->ForgetBefore(at->second->rounds(), vault_));
      ++at;
      continue;
    }
    DS_RETURN_IF_ERROR(AgentEpoch::RemoveFrom(vault_, at->first));
    at = epochs_.erase(at);
  }
  const auto current = epochs_.find(epoch);
  if (current == epochs_.end() || !current->second->ready()) return absl::OkStatus();
  return current->second->ForgetBefore(index + 1, vault_);
}

absl::Status VaultedAgent::EndRun() {
  MutexLock lock(mutex_);
  DS_RETURN_IF_ERROR(vault_.Put("ended", ""));
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> names, vault_.Names());
  for (const std::string& name : names) {
    if (name != "ended") DS_RETURN_IF_ERROR(vault_.Remove(name));
  }
  epochs_.clear();
  records_.clear();
  with_packed_.clear();
  last_epoch_ = INT64_MAX;
  return absl::OkStatus();
}

}  // namespace ds::federated::secure
