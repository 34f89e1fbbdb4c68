// When a set-up of secure aggregation begins, and with whom; what ends its steps.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "federated/round/round_machine.h"
#include "federated/round/selection.h"
#include "federated/round/site_lists.h"

namespace ds::federated {

// Sites without which no threshold could be held.
int64_t RoundMachine::LeastRoster() const {
  const SecureOptions& secure = options().secure;
  return std::max({options().round.minimum, kLeastRoster, secure.colluders + 1, secure.threshold});
}

// Who spoilt the last set-up is asked again only where the others are too few.
std::vector<std::string> RoundMachine::SetupPool(const std::vector<std::string>& pool) const {
  std::vector<std::string> others = Without(pool, left_out_);
  return static_cast<int64_t>(others.size()) >= LeastRoster() ? others : pool;
}

Record RoundMachine::StartSetup(const std::set<std::string>& present) const {
  return SetupStarted{next_epoch_, SelectSites(options().seed, next_round_,
                                               SetupPool(Pool(present)), model_->maximum_sites)};
}

bool RoundMachine::IsUsedUp(const SetupState& setup) const {
  return setup.next_index >= options().secure.rounds_a_setup;
}

// Who has not been asked yet would have to wait for the next set-up.
bool RoundMachine::SomeoneIsLate(const SetupState& setup,
                                 const std::set<std::string>& present) const {
  if (model_->maximum_sites <= static_cast<int64_t>(setup.asked.size())) return false;
  const std::vector<std::string> pool = Pool(present);
  return std::any_of(pool.begin(), pool.end(), [&](const std::string& site) {
    return !std::binary_search(setup.asked.begin(), setup.asked.end(), site) &&
           !setup.left_out.contains(site);
  });
}

bool RoundMachine::IsUsable(const SetupState& setup, const std::set<std::string>& present) const {
  if (setup.step != SetupStep::kDone || IsUsedUp(setup) || SomeoneIsLate(setup, present)) {
    return false;
  }
  return static_cast<int64_t>(Both(setup.participants, present).size()) >=
         std::max(options().round.minimum, setup.threshold);
}

// The round after this one could not be planned on what there is. So often as rounds may fail in a
// row: then it is left to the time between the rounds.
bool RoundMachine::NextSetupIsDue(const std::set<std::string>& present) const {
  const bool another_round = !stopping_ && version_ + 1 < options().round.rounds;
  if (stage_ != Stage::kCollect || !secure() || !another_round || next_setup_.under_way() ||
      round_.setups_begun >= options().round.abandoned_in_a_row ||
      static_cast<int64_t>(Pool(present).size()) < LeastRoster()) {
    return false;
  }
  const SetupState& latest = next_setup_.step == SetupStep::kDone ? next_setup_ : setup_;
  return IsUsedUp(latest) || SomeoneIsLate(latest, present);
}

Decision RoundMachine::DecideBeside(absl::Duration now, const std::set<std::string>& present) {
  if (next_setup_.under_way()) {
    const absl::Duration end = next_clock_.began + Deadline(Stage::kSetupKeys);
    Decision decision = DecideSetup(next_setup_, end - now);
    decision.ask_again = end;
    return decision;
  }
  if (!NextSetupIsDue(present)) return {};
  // Who is away for a moment shall be in it.
  const absl::Duration comes_back = stage_began() + std::min(limits_.comes_back, Deadline(stage_));
  if (now < comes_back && !Without(setup_.participants, present).empty()) {
    return {.ask_again = comes_back};
  }
  return {.record = StartSetup(present)};
}

Decision RoundMachine::DecideSetup(const SetupState& setup, absl::Duration left) const {
  const bool keys = setup.step == SetupStep::kKeys;
  const std::vector<std::string> missing = Without(keys ? setup.asked : setup.roster, setup.gave);
  if (!missing.empty() && left > absl::ZeroDuration()) return {};
  std::vector<std::string> gave(setup.gave.begin(), setup.gave.end());
  const auto there = static_cast<int64_t>(gave.size());
  const int64_t needed = keys ? LeastRoster() : setup.threshold;
  if (there < needed) {
    std::string why = absl::StrCat("set-up ", setup.epoch, " had the ", keys ? "keys" : "shares",
                                   " of ", Count(there, "site"), ", at least ", needed,
                                   " are needed", Named("missing:", missing));
    return {.record = SetupAbandoned{setup.epoch, std::move(why), missing}};
  }
  // The threshold is the secure server's to say; this one always holds.
  if (keys) return {.record = KeysClosed{setup.epoch, std::move(gave), there}};
  return {.record = SharesClosed{setup.epoch, std::move(gave)}};
}

}  // namespace ds::federated
