#include "federated/aggregator/secure_epochs.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace ds::federated {

SecureEpochs::SecureEpochs(std::shared_ptr<const SiteIdentity> identity,
                           std::shared_ptr<const Store> store, std::shared_ptr<BlobShelf> shelf)
    : identity_(std::move(identity)),
      store_(std::move(store)),
      shelf_(std::move(shelf)),
      history_(SecureHistory::Create()) {}

void SecureEpochs::SetPayload(std::string& digest, std::string bytes) {
  if (!digest.empty()) shelf_->Drop(digest);
  digest = bytes.empty() ? "" : shelf_->Keep(std::move(bytes));
}

void SecureEpochs::DropInboxes() {
  for (const auto& [site, digest] : inboxes_) shelf_->Drop(digest);
  inboxes_.clear();
}

absl::Status SecureEpochs::TakeGiven(const SecureGiven& given) {
  DS_ASSIGN_OR_RETURN(const std::string payload, BlobBytes(*store_, given.payload));
  switch (given.step) {
    case SecureStep::kKeys:
      return server_->AddKeys(given.site, payload);
    case SecureStep::kShares:
      return server_->AddShares(given.site, payload);
    case SecureStep::kEcho:
      return server_->AddEcho(round_, given.site, payload);
    default:
      return server_->AddAnswer(round_, given.site, payload);
  }
}

absl::Status SecureEpochs::TakeSurvivors(const SurvivorsFixed& fixed) {
  warning_.clear();
  DS_ASSIGN_OR_RETURN(std::string told, server_->Survivors(round_, fixed.sites, &warning_));
  SetPayload(survivors_, std::move(told));
  return absl::OkStatus();
}

absl::Status SecureEpochs::Take(Record& record, const RoundMachine& machine, bool replaying) {
  if (auto* started = std::get_if<SetupStarted>(&record)) {
    DS_ASSIGN_OR_RETURN(
        server_, SecureServer::Create(machine.options().secure, machine.offer().run, started->epoch,
                                      started->sites, identity_, history_));
    SetPayload(request_, "");
    SetPayload(survivors_, "");
    DropInboxes();
    return absl::OkStatus();
  }
  if (server_ == nullptr) return absl::OkStatus();
  server_->SetReplaying(replaying);
  if (auto* given = std::get_if<SecureGiven>(&record)) return TakeGiven(*given);
  if (auto* closed = std::get_if<KeysClosed>(&record)) {
    DS_ASSIGN_OR_RETURN(std::string request, server_->CloseKeys());
    closed->threshold = server_->threshold();
    SetPayload(request_, std::move(request));
  } else if (std::holds_alternative<SharesAskedAgain>(record)) {
    SetPayload(request_, server_->request());
  } else if (auto* shares = std::get_if<SharesClosed>(&record)) {
    DS_RETURN_IF_ERROR(server_->CloseShares());
    shares->sites = server_->participants();
    std::sort(shares->sites.begin(), shares->sites.end());
    SetPayload(request_, "");
    for (const std::string& site : shares->sites) {
      DS_ASSIGN_OR_RETURN(std::string inbox, server_->Inbox(site));
      inboxes_[site] = shelf_->Keep(std::move(inbox));
    }
  } else if (auto* plan = std::get_if<RoundPlanned>(&record)) {
    round_ = {.run = machine.offer().run,
              .epoch = plan->secure_epoch,
              .index = plan->secure_index,
              .round = plan->round,
              .base_digest = plan->base_digest,
              .bits = static_cast<int>(machine.model().modulus_bits),
              .values = machine.model().values};
    SetPayload(survivors_, "");
  } else if (auto* update = std::get_if<UpdateCommitted>(&record)) {
    return server_->AddNotes(update->site, update->notes);
  } else if (auto* fixed = std::get_if<SurvivorsFixed>(&record)) {
    return TakeSurvivors(*fixed);
  } else if (std::holds_alternative<EchoesClosed>(record)) {
    DS_ASSIGN_OR_RETURN(std::string told, server_->SurvivorsWithEchoes(round_));
    SetPayload(survivors_, std::move(told));
  }
  return absl::OkStatus();
}

bool SecureEpochs::AsksSharesAgain(const RoundMachine& machine) const {
  return machine.stage() == Stage::kSetupShares && !machine.setup().asked_again &&
         machine.setup().gave.size() == machine.setup().roster.size() &&
         !server_->Awaited().empty();
}

bool SecureEpochs::Answered() const { return server_->Answered(round_); }

std::vector<std::string> SecureEpochs::Awaited() const {
  std::vector<std::string> awaited;
  if (server_ != nullptr) awaited = server_->Awaited();
  std::sort(awaited.begin(), awaited.end());
  return awaited;
}

absl::Status SecureEpochs::Unmask(IntegerVector& sum) const { return server_->Unmask(round_, sum); }

SecureAsking SecureEpochs::AskOf(const std::string& site, const RoundMachine& machine) const {
  const SetupState& setup = machine.setup();
  const RoundState& round = machine.round();
  const auto asked = [&](const std::vector<std::string>& sites, const std::set<std::string>& gave) {
    return std::binary_search(sites.begin(), sites.end(), site) && !gave.contains(site);
  };
  switch (machine.stage()) {
    case Stage::kSetupKeys:
      if (asked(setup.asked, setup.gave)) return {setup.epoch, ""};
      break;
    case Stage::kSetupShares:
      if (asked(setup.roster, setup.gave)) return {setup.epoch, request_};
      break;
    case Stage::kCollect: {
      const auto inbox = inboxes_.find(site);
      // Who has sent an update has opened it.
      if (inbox != inboxes_.end() && machine.UpdateOf(site, round.round) == nullptr) {
        return {setup.epoch, inbox->second};
      }
      break;
    }
    case Stage::kEcho:
      if (asked(round.survivors, round.echoed)) return {setup.epoch, survivors_};
      break;
    case Stage::kUnmask:
      if (asked(setup.participants, round.answered)) return {setup.epoch, survivors_};
      break;
    default:
      break;
  }
  return {};
}

}  // namespace ds::federated
