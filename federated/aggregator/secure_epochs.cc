#include "federated/aggregator/secure_epochs.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace ds::federated {
namespace {

// Of records that name none: the round's.
int64_t EpochNamed(const Record& record, int64_t of_round) {
  return std::visit(
      [&](const auto& value) -> int64_t {
        if constexpr (requires { value.epoch; }) {
          return value.epoch;
        } else {
          return of_round;
        }
      },
      record);
}

}  // namespace

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

void SecureEpochs::Drop(Epoch& epoch) {
  SetPayload(epoch.request, "");
  for (const auto& [site, digest] : epoch.inboxes) shelf_->Drop(digest);
  epoch = {};
}

SecureEpochs::Epoch& SecureEpochs::EpochOf(int64_t epoch, const RoundMachine& machine) {
  return &machine.SetupOf(epoch) == &machine.next_setup() ? next_ : now_;
}

absl::Status SecureEpochs::TakeStarted(const SetupStarted& started, const RoundMachine& machine) {
  DS_ASSIGN_OR_RETURN(std::unique_ptr<SecureServer> server,
                      SecureServer::Create(machine.options().secure, machine.offer().run,
                                           started.epoch, started.sites, identity_, history_));
  Drop(next_);
  if (machine.stage() == Stage::kCollect) {
    next_.server = std::move(server);
    return absl::OkStatus();
  }
  SetPayload(survivors_, "");
  Drop(now_);
  now_.server = std::move(server);
  return absl::OkStatus();
}

absl::Status SecureEpochs::TakeGiven(const SecureGiven& given, SecureServer& server) {
  DS_ASSIGN_OR_RETURN(const std::string payload, BlobBytes(*store_, given.payload));
  switch (given.step) {
    case SecureStep::kKeys:
      return server.AddKeys(given.site, payload);
    case SecureStep::kShares:
      return server.AddShares(given.site, payload);
    case SecureStep::kEcho:
      return server.AddEcho(round_, given.site, payload);
    default:
      return server.AddAnswer(round_, given.site, payload);
  }
}

absl::Status SecureEpochs::TakeKeysClosed(KeysClosed& closed, Epoch& epoch) {
  DS_ASSIGN_OR_RETURN(std::string request, epoch.server->CloseKeys());
  closed.threshold = epoch.server->threshold();
  SetPayload(epoch.request, std::move(request));
  return absl::OkStatus();
}

absl::Status SecureEpochs::TakeSharesClosed(SharesClosed& closed, Epoch& epoch) {
  DS_RETURN_IF_ERROR(epoch.server->CloseShares());
  closed.sites = epoch.server->participants();
  std::sort(closed.sites.begin(), closed.sites.end());
  SetPayload(epoch.request, "");
  for (const std::string& site : closed.sites) {
    DS_ASSIGN_OR_RETURN(std::string inbox, epoch.server->Inbox(site));
    epoch.inboxes[site] = shelf_->Keep(std::move(inbox));
  }
  return absl::OkStatus();
}

void SecureEpochs::TakePlan(const RoundPlanned& plan, const RoundMachine& machine) {
  if (&EpochOf(plan.secure_epoch, machine) == &next_) {
    Drop(now_);
    now_ = std::exchange(next_, {});
  }
  round_ = {.run = machine.offer().run,
            .epoch = plan.secure_epoch,
            .index = plan.secure_index,
            .round = plan.round,
            .base_digest = plan.base_digest,
            .bits = static_cast<int>(machine.model().modulus_bits),
            .values = machine.model().values};
  SetPayload(survivors_, "");
}

absl::Status SecureEpochs::TakeSurvivors(const SurvivorsFixed& fixed) {
  warning_.clear();
  DS_ASSIGN_OR_RETURN(std::string told, now_.server->Survivors(round_, fixed.sites, &warning_));
  SetPayload(survivors_, std::move(told));
  return absl::OkStatus();
}

absl::Status SecureEpochs::Take(Record& record, const RoundMachine& machine, bool replaying) {
  if (const auto* started = std::get_if<SetupStarted>(&record)) {
    return TakeStarted(*started, machine);
  }
  if (const auto* plan = std::get_if<RoundPlanned>(&record)) {
    TakePlan(*plan, machine);
    return absl::OkStatus();
  }
  Epoch& epoch = EpochOf(EpochNamed(record, round_.epoch), machine);
  if (epoch.server == nullptr) return absl::OkStatus();
  epoch.server->SetReplaying(replaying);
  if (const auto* given = std::get_if<SecureGiven>(&record)) {
    return TakeGiven(*given, *epoch.server);
  }
  if (auto* keys = std::get_if<KeysClosed>(&record)) return TakeKeysClosed(*keys, epoch);
  if (auto* shares = std::get_if<SharesClosed>(&record)) return TakeSharesClosed(*shares, epoch);
  if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
    return epoch.server->AddNotes(update->site, update->notes);
  }
  if (const auto* fixed = std::get_if<SurvivorsFixed>(&record)) return TakeSurvivors(*fixed);
  if (std::holds_alternative<SharesAskedAgain>(record)) {
    SetPayload(epoch.request, epoch.server->request());
  } else if (std::holds_alternative<EchoesClosed>(record)) {
    DS_ASSIGN_OR_RETURN(std::string told, epoch.server->SurvivorsWithEchoes(round_));
    SetPayload(survivors_, std::move(told));
  }
  return absl::OkStatus();
}

bool SecureEpochs::AsksSharesAgain(int64_t epoch, const RoundMachine& machine) {
  const SetupState& setup = machine.SetupOf(epoch);
  return setup.step == SetupStep::kShares && !setup.asked_again &&
         setup.gave.size() == setup.roster.size() && !Awaited(epoch, machine).empty();
}

bool SecureEpochs::Answered() const { return now_.server->Answered(round_); }

std::vector<std::string> SecureEpochs::Awaited(int64_t epoch, const RoundMachine& machine) {
  std::vector<std::string> awaited;
  const std::shared_ptr<SecureServer>& server = EpochOf(epoch, machine).server;
  if (server != nullptr) awaited = server->Awaited();
  std::sort(awaited.begin(), awaited.end());
  return awaited;
}

absl::Status SecureEpochs::Unmask(IntegerVector& sum) const {
  return now_.server->Unmask(round_, sum);
}

SecureAsking SecureEpochs::AskOfRound(const std::string& site, const RoundMachine& machine) const {
  const RoundState& round = machine.round();
  const bool echo = machine.stage() == Stage::kEcho;
  if (!echo && machine.stage() != Stage::kUnmask) return {};
  const auto& asked = echo ? round.survivors : machine.setup().participants;
  const auto& gave = echo ? round.echoed : round.answered;
  if (!std::binary_search(asked.begin(), asked.end(), site) || gave.contains(site)) return {};
  return {machine.setup().epoch, survivors_};
}

SecureAsking SecureEpochs::AskOfSetup(const std::string& site, const SetupState& setup,
                                      const Epoch& epoch) const {
  if (!setup.under_way() || setup.gave.contains(site)) return {};
  const bool keys = setup.step == SetupStep::kKeys;
  const std::vector<std::string>& asked = keys ? setup.asked : setup.roster;
  if (!std::binary_search(asked.begin(), asked.end(), site)) return {};
  return {setup.epoch, keys ? "" : epoch.request};
}

// In the order of what others wait for: the round's end; a set-up; the site's own training; and
// what it is to have before the next round.
SecureAsking SecureEpochs::AskOf(const std::string& site, const RoundMachine& machine) const {
  if (machine.stage() == Stage::kEnded) return {};
  SecureAsking asking = AskOfRound(site, machine);
  if (asking.epoch < 0) asking = AskOfSetup(site, machine.setup(), now_);
  if (asking.epoch < 0) asking = AskOfSetup(site, machine.next_setup(), next_);
  if (asking.epoch >= 0) return asking;
  // Who has sent an update has opened its inbox.
  if (const auto inbox = now_.inboxes.find(site);
      inbox != now_.inboxes.end() && machine.stage() == Stage::kCollect &&
      machine.UpdateOf(site, machine.round().round) == nullptr) {
    return {machine.setup().epoch, inbox->second};
  }
  if (const auto inbox = next_.inboxes.find(site); inbox != next_.inboxes.end()) {
    return {machine.next_setup().epoch, inbox->second};
  }
  return {};
}

}  // namespace ds::federated
