#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "federated/secure/epoch_server.h"
#include "federated/secure/setup/thresholds.h"

namespace ds::federated::secure {

int EpochServer::ParticipantAt(const std::string& site) const {
  const int position = participants_.empty() ? -1 : setup_->PositionOf(site);
  return position >= 0 && participants_[position] ? position : -1;
}

const EpochServer::Round* EpochServer::Find(const SecureRound& round) const {
  const auto found = rounds_.find(round.index);
  if (found == rounds_.end() || found->second.unmasking.round.round != round.round) return nullptr;
  return &found->second;
}

absl::StatusOr<EpochServer::Round*> EpochServer::Find(const SecureRound& round) {
  const Round* found = std::as_const(*this).Find(round);
  if (found != nullptr) return const_cast<Round*>(found);
  return absl::FailedPreconditionError(
      absl::StrCat("no survivors were said for round ", round.round));
}

absl::Status EpochServer::AddNotes(const std::string& site, const std::vector<std::string>& notes) {
  const SaidRound* last = history_->Last(INT64_MAX);
  if (last == nullptr) return absl::OkStatus();
  SaidRound& said = *history_->Find(last->round);
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("what ", site, " says of the survivors of round ", said.round, ": ", what));
  };
  for (const std::string& text : notes) {
    std::string bytes;
    if (!absl::Base64Unescape(text, &bytes)) return wrong("it is not base64");
    const auto note = DecodeNote(bytes);
    if (!note.ok()) return wrong(note.status().message());
    if (note->header.run != header_.run) return wrong("it is of another run");
    if (note->round != said.round) continue;
    const int position = said.setup->PositionOf(site);
    if (note->header.epoch != said.epoch || position < 0) return wrong("it took no part");
    if (note->survivors != said.survivors) return wrong("they were others than it was given");
    if (!replaying_ &&
        !Ed25519Verify(said.setup->member(position).signing,
                       NoteToSign(note->header, note->round, note->survivors), note->signature))
      return wrong("its signature does not fit");
    said.notes[site] = note->signature;
  }
  if (said.answered.contains(site) && !said.notes.contains(site))
    return wrong("nothing, though it has answered for them; its update does not count without");
  return absl::OkStatus();
}

void EpochServer::FillPrevious(int64_t round, secure::Survivors* message) const {
  const SaidRound* last = history_->Last(round);
  if (last == nullptr) return;
  message->has_previous = true;
  message->previous = {.epoch = last->epoch, .round = last->round, .survivors = last->survivors};
  std::set<std::string> sites = last->answered;
  for (const auto& [site, signature] : last->notes) sites.insert(site);
  for (const std::string& site : sites) {
    Previous::Entry entry{.site = site, .answered = last->answered.contains(site)};
    const auto note = last->notes.find(site);
    entry.noted = note != last->notes.end();
    if (entry.noted) entry.signature = note->second;
    message->previous.sites.push_back(std::move(entry));
  }
}

absl::Status EpochServer::CheckSet(const SecureRound& round, const std::vector<std::string>& names,
                                   std::string* warning) const {
  const auto wrong = [&](absl::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrCat("the survivors of round ", round.round, ": ", what));
  };
  for (const std::string& name : names) {
    if (ParticipantAt(name) < 0)
      return wrong(absl::StrCat(name, " takes no part in set-up ", header_.epoch));
  }
  if (static_cast<int64_t>(names.size()) < threshold())
    return wrong(absl::StrCat(names.size(), " sites, the threshold is ", threshold(),
                              "; the round must be abandoned"));
  const SaidRound* same = history_->OnModel(round.base_digest, round.round);
  if (same != nullptr)
    return wrong(absl::StrCat("sites have answered round ", same->round, " on the same model (",
                              absl::StrJoin(same->answered, ", "),
                              ") and never answer a second one"));
  const SaidRound* last = history_->Last(round.round);
  for (const std::string& name : names) {
    if (last != nullptr && last->answered.contains(name) && !last->notes.contains(name))
      return wrong(absl::StrCat("the update of ", name, " came without its word on round ",
                                last->round, " (AddNotes)"));
  }
  const std::string close =
      CloseSet(history_->Sets(), {.round = round.round, .sites = names}, options_.least_difference);
  if (!close.empty() && options_.refuse_close_sets) return wrong(close);
  if (warning != nullptr) *warning = close;
  return absl::OkStatus();
}

absl::StatusOr<std::string> EpochServer::Survivors(const SecureRound& round,
                                                   const std::vector<std::string>& sites,
                                                   std::string* warning) {
  if (warning != nullptr) warning->clear();
  if (participants_.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("round ", round.round, ": set-up ", header_.epoch, " is not complete"));
  if (round.run != header_.run || round.epoch != header_.epoch || round.index < 0 ||
      round.index >= setup_->rounds())
    return absl::InvalidArgumentError(absl::StrCat("round ", round.round, " has no masks ",
                                                   round.index, " of set-up ", header_.epoch));
  std::vector<std::string> names = sites;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<bool> survivors(participants_.size());
  for (const std::string& name : names) {
    const int position = ParticipantAt(name);
    if (position >= 0) survivors[position] = true;
  }
  const Bytes32 transcript = TranscriptOf(*setup_, participants_, round);
  const auto known = rounds_.find(round.index);
  if (known != rounds_.end()) {
    const Unmasking& fixed = known->second.unmasking;
    if (fixed.transcript == transcript && fixed.survivors == survivors)
      return known->second.message.Encode();
    return absl::FailedPreconditionError(
        absl::StrCat("masks ", round.index, " of set-up ", header_.epoch, " are used in round ",
                     fixed.round.round, " already, whose survivors are fixed"));
  }
  DS_RETURN_IF_ERROR(CheckSet(round, names, warning));
  Round& fixed = rounds_[round.index];
  fixed.unmasking.round = round;
  fixed.unmasking.transcript = transcript;
  fixed.unmasking.survivors = survivors;
  fixed.unmasking.hash = SurvivorsHash(transcript, survivors);
  fixed.unmasking.shares.resize(participants_.size());
  fixed.message = {.header = header_,
                   .round = round.round,
                   .index = static_cast<uint32_t>(round.index),
                   .transcript = transcript,
                   .survivors = survivors};
  FillPrevious(round.round, &fixed.message);
  history_->Add({.epoch = header_.epoch,
                 .round = round.round,
                 .base_digest = round.base_digest,
                 .survivors = fixed.unmasking.hash,
                 .sites = std::move(names),
                 .setup = setup_});
  return fixed.message.Encode();
}

absl::Status EpochServer::AddEcho(const SecureRound& round, const std::string& site,
                                  absl::string_view payload) {
  DS_ASSIGN_OR_RETURN(Round* const at, Find(round));
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the echo of ", site, " for round ", round.round, ": ", what));
  };
  const int position = ParticipantAt(site);
  if (position < 0)
    return absl::PermissionDeniedError(
        absl::StrCat(site, " takes no part in set-up ", header_.epoch));
  const auto echo = DecodeEcho(payload);
  if (!echo.ok()) return wrong(echo.status().message());
  if (echo->header.run != header_.run || echo->header.epoch != header_.epoch ||
      echo->round != round.round)
    return wrong("it is of another round");
  if (echo->survivors != at->unmasking.hash) return wrong("it is of other survivors");
  if (!replaying_ &&
      !Ed25519Verify(setup_->member(position).signing,
                     EchoToSign(header_, round.round, echo->survivors), echo->signature))
    return wrong("its signature does not fit");
  at->echoes[static_cast<uint32_t>(position)] = echo->signature;
  return absl::OkStatus();
}

int64_t EpochServer::echoes(const SecureRound& round) const {
  const Round* at = Find(round);
  return at == nullptr ? 0 : static_cast<int64_t>(at->echoes.size());
}

absl::StatusOr<std::string> EpochServer::SurvivorsWithEchoes(const SecureRound& round) const {
  const Round* at = Find(round);
  if (at == nullptr || echoes(round) < threshold())
    return absl::FailedPreconditionError(absl::StrCat("round ", round.round, ": ", echoes(round),
                                                      " echoes, ", threshold(), " are needed"));
  secure::Survivors message = at->message;
  message.echoes.assign(at->echoes.begin(), at->echoes.end());
  return message.Encode();
}

absl::Status EpochServer::AddAnswer(const SecureRound& round, const std::string& site,
                                    absl::string_view payload) {
  DS_ASSIGN_OR_RETURN(Round* const at, Find(round));
  const int position = ParticipantAt(site);
  if (position < 0)
    return absl::PermissionDeniedError(
        absl::StrCat(site, " takes no part in set-up ", header_.epoch));
  DS_RETURN_IF_ERROR(at->unmasking.Add(*setup_, participants_, shares_, position, payload));
  SaidRound* said = history_->Find(round.round);
  if (said != nullptr) said->answered.insert(site);
  return absl::OkStatus();
}

int64_t EpochServer::answers(const SecureRound& round) const {
  const Round* at = Find(round);
  return at == nullptr ? 0 : static_cast<int64_t>(at->unmasking.answered.size());
}

bool EpochServer::Answered(const SecureRound& round) const {
  const Round* at = Find(round);
  return at != nullptr && answers(round) >= threshold() &&
         at->unmasking.Missing(*setup_, participants_).empty();
}

absl::Status EpochServer::Unmask(const SecureRound& round, IntegerVector& sum) const {
  const Round* at = Find(round);
  if (at == nullptr || answers(round) < threshold())
    return absl::FailedPreconditionError(absl::StrCat("round ", round.round, ": ", answers(round),
                                                      " answers, ", threshold(), " are needed"));
  const SecureRound& fixed = at->unmasking.round;
  if (sum.bits() != fixed.bits || sum.size() != fixed.values)
    return absl::InvalidArgumentError(
        absl::StrCat("round ", round.round, ": a sum of ", sum.size(), " values of ", sum.bits(),
                     " bits, the masks are of ", fixed.values, " values of ", fixed.bits, " bits"));
  const auto names = [&](const std::vector<int>& positions) {
    std::vector<std::string> out;
    for (int position : positions) out.push_back(setup_->member(position).site);
    return absl::StrJoin(out, ", ");
  };
  const std::vector<int> missing = at->unmasking.Missing(*setup_, participants_);
  if (!missing.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("round ", round.round, ": too few good shares of ", names(missing)));
  std::vector<int> broken;
  const std::vector<Secret> secrets = at->unmasking.Recover(*setup_, participants_, &broken);
  if (!broken.empty())
    return absl::DataLossError(absl::StrCat("round ", round.round, ": the shares of ",
                                            names(broken),
                                            " do not give the secrets that it committed to"));
  return TakeMasks(*setup_, participants_, at->unmasking, secrets, sum);
}

std::vector<std::string> EpochServer::Blamed(const SecureRound& round) const {
  const Round* at = Find(round);
  std::vector<std::string> blamed;
  if (at == nullptr || answers(round) < threshold()) return blamed;
  std::vector<int> broken;
  at->unmasking.Recover(*setup_, participants_, &broken);
  for (int owner : at->unmasking.Missing(*setup_, participants_)) {
    // So many of those who hold its shares have answered that good ones would do.
    const absl::Span<const int> holders = setup_->neighbours().Holders(owner);
    const int64_t asked = std::count_if(holders.begin(), holders.end(), [&](int holder) {
      return at->unmasking.answered.contains(holder);
    });
    if (asked >= setup_->neighbours().share_threshold()) broken.push_back(owner);
  }
  for (int owner : broken) blamed.push_back(setup_->member(owner).site);
  return blamed;
}

}  // namespace ds::federated::secure
