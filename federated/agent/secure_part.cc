#include "federated/agent/secure_part.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/agent/site_files.h"

namespace ds::federated {
namespace {

// Of a roster, an inbox, survivors: a few hundred bytes for each site and round, far below it.
constexpr int64_t kMostPayloadBytes = int64_t{64} << 20;

}  // namespace

SecurePart::SecurePart(RunOffer offer, std::unique_ptr<SecureAgent> agent, FederationClient& client)
    : offer_(std::move(offer)), agent_(std::move(agent)), client_(client) {}

absl::Status SecurePart::React(const Situation& situation, const GlobalModel& model) {
  const bool in_round = situation.phase == Phase::kCollect || situation.phase == Phase::kUnmask;
  // The aggregator knows of an update that this disk does not: it was put back to an earlier state.
  if (in_round && situation.committed)
    DS_RETURN_IF_ERROR(agent_->CheckCommitted(situation.plan.round));
  MutexLock lock(mutex_);
  if (in_round) round_ = situation.plan.round;
  if (situation.secure_epoch < 0) return absl::OkStatus();
  const auto done = done_.find(situation.secure_epoch);
  if (done != done_.end() && done->second == situation.secure_payload) return absl::OkStatus();
  const absl::Status answered = Answer(situation, model);
  if (absl::IsFailedPrecondition(answered)) {
    // Not now, or not any more: it is tried again when the situation changes.
    std::string warning = absl::StrCat("secure aggregation: ", answered.message());
    if (warning != last_warning_) warnings_.push_back(warning);
    last_warning_ = std::move(warning);
    return absl::OkStatus();
  }
  DS_RETURN_IF_ERROR(answered);
  done_[situation.secure_epoch] = situation.secure_payload;
  if (done_.size() > 2) done_.erase(done_.begin());
  return absl::OkStatus();
}

absl::Status SecurePart::Forget() {
  MutexLock lock(mutex_);
  if (round_ == forgotten_before_) return absl::OkStatus();
  DS_RETURN_IF_ERROR(agent_->ForgetBefore(round_));
  forgotten_before_ = round_;
  return absl::OkStatus();
}

absl::Status SecurePart::Answer(const Situation& situation, const GlobalModel& model) {
  if (!situation.secure_payload.empty()) return AnswerPayload(situation, model);
  DS_ASSIGN_OR_RETURN(std::string keys, agent_->OfferKeys(situation.secure_epoch));
  return Send(situation.secure_epoch, -1, SecureStep::kKeys, std::move(keys));
}

absl::Status SecurePart::AnswerPayload(const Situation& situation, const GlobalModel& model) {
  if (payload_digest_ != situation.secure_payload) {
    DS_ASSIGN_OR_RETURN(payload_, FetchBytes(client_, situation.secure_payload, kMostPayloadBytes));
    payload_digest_ = situation.secure_payload;
  }
  const absl::StatusOr<SecureAsked> asked = WhatIsAsked(offer_.options.secure, payload_);
  if (!asked.ok())
    return absl::PermissionDeniedError(
        absl::StrCat("the aggregator asks for what no protocol has: ", asked.status().message()));
  if (asked->ask == SecureAsk::kInbox) return agent_->OpenInbox(asked->epoch, payload_);
  if (asked->ask == SecureAsk::kShares) {
    DS_ASSIGN_OR_RETURN(std::string shares, agent_->SealShares(asked->epoch, payload_));
    return Send(asked->epoch, -1, SecureStep::kShares, std::move(shares));
  }
  DS_ASSIGN_OR_RETURN(const SecureRound round, RoundAsked(*asked, situation.plan, model));
  const bool echo = asked->ask == SecureAsk::kEcho;
  DS_ASSIGN_OR_RETURN(std::string answer,
                      echo ? agent_->Echo(round, payload_) : agent_->AnswerUnmask(round, payload_));
  return Send(asked->epoch, asked->round, echo ? SecureStep::kEcho : SecureStep::kAnswer,
              std::move(answer));
}

absl::StatusOr<SecureRound> SecurePart::RoundAsked(const SecureAsked& asked, const RoundPlan& plan,
                                                   const GlobalModel& model) const {
  if (asked.round != plan.round || model.version() != plan.base_version)
    return absl::FailedPreconditionError(
        absl::StrCat("round ", asked.round, " is to be unmasked, and the run stands in round ",
                     plan.round, " at version ", model.version()));
  return SecureRound{.run = offer_.run,
                     .epoch = asked.epoch,
                     .index = asked.index,
                     .round = asked.round,
                     .base_digest = model.digest(),
                     .bits = model.modulus_bits(),
                     .values = model.values()};
}

absl::Status SecurePart::Send(int64_t epoch, int64_t round, SecureStep step, std::string payload) {
  return client_
      .Secure({.run = offer_.run,
               .epoch = epoch,
               .round = round,
               .step = step,
               .payload = std::move(payload)})
      .status();
}

bool SecurePart::Ready(const RoundPlan& plan) const {
  return plan.secure_epoch >= 0 && agent_->Ready(plan.secure_epoch);
}

absl::StatusOr<IntegerVector> SecurePart::Mask(const RoundPlan& plan,
                                               const std::string& base_digest,
                                               const IntegerVector& levels, int modulus_bits,
                                               absl::Span<const VaultValue> before) {
  const SecureRound round{.run = offer_.run,
                          .epoch = plan.secure_epoch,
                          .index = plan.secure_index,
                          .round = plan.round,
                          .base_digest = base_digest,
                          .bits = modulus_bits,
                          .values = levels.size()};
  return agent_->MaskAndPut(round, levels.Widen(modulus_bits), before);
}

std::vector<std::string> SecurePart::TakeWarnings() {
  std::vector<std::string> warnings = agent_->TakeWarnings();
  MutexLock lock(mutex_);
  warnings.insert(warnings.end(), warnings_.begin(), warnings_.end());
  warnings_.clear();
  return warnings;
}

}  // namespace ds::federated
