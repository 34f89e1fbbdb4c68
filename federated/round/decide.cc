// What time, counts and presence ask for next.
#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "federated/round/round_machine.h"
#include "federated/round/selection.h"

namespace ds::federated {
namespace {

std::string Count(int64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string Named(absl::string_view before, const std::vector<std::string>& sites) {
  constexpr size_t kShown = 8;
  if (sites.empty()) return "";
  const auto end = sites.begin() + std::min(sites.size(), kShown);
  std::string text = absl::StrCat("; ", before, " ", absl::StrJoin(sites.begin(), end, ", "));
  if (sites.size() > kShown) absl::StrAppend(&text, " and ", sites.size() - kShown, " more");
  return text;
}

std::vector<std::string> Without(const std::vector<std::string>& all,
                                 const std::set<std::string>& some) {
  std::vector<std::string> left;
  std::set_difference(all.begin(), all.end(), some.begin(), some.end(), std::back_inserter(left));
  return left;
}

std::vector<std::string> Both(const std::vector<std::string>& all,
                              const std::set<std::string>& some) {
  std::vector<std::string> both;
  std::set_intersection(all.begin(), all.end(), some.begin(), some.end(), std::back_inserter(both));
  return both;
}

// Of two sites each would know the other's update from the sum.
constexpr int64_t kLeastRoster = 3;

Decision Now(Record record) { return {.record = std::move(record)}; }

}  // namespace

absl::Duration RoundMachine::Deadline(Stage stage) const {
  const RoundOptions& round = options().round;
  switch (stage) {
    case Stage::kWaiting:
      return limits_.first_sites;
    case Stage::kIdle:
    case Stage::kCollect:
      return absl::Seconds(round.deadline_s);
    case Stage::kSetupKeys:
    case Stage::kSetupShares:
    case Stage::kEcho:
      return absl::Seconds(round.unmask_deadline_s);
    case Stage::kUnmask:
      // The round cannot be tried again: as long as it would take to try for the last time.
      return absl::Seconds(round.unmask_deadline_s) * round.abandoned_in_a_row;
    default:
      return absl::InfiniteDuration();
  }
}

Decision RoundMachine::Decide(absl::Duration now, const std::set<std::string>& present) {
  if (first_transition_ < 0) first_transition_ = transitions_;
  if (seen_transition_ != transitions_) {
    seen_transition_ = transitions_;
    began_ = now;
  }
  if (stage_ == Stage::kEmpty || stage_ == Stage::kEnded || stage_ == Stage::kPublish) return {};
  if (auto end = EndOfRun()) return Now(*std::move(end));
  const absl::Duration left = began_ + Deadline(stage_) - now;
  Decision decision;
  switch (stage_) {
    case Stage::kWaiting:
      decision = DecideWaiting(left, present);
      break;
    case Stage::kIdle:
      return DecideIdle(now, present);
    case Stage::kSetupKeys:
    case Stage::kSetupShares:
      decision = DecideSetup(left);
      break;
    case Stage::kCollect:
      decision = DecideCollect(left);
      break;
    default:
      decision = DecideUnmask(left);
  }
  decision.ask_again = now + left;
  return decision;
}

std::optional<Record> RoundMachine::EndOfRun() const {
  const bool between = stage_ == Stage::kWaiting || stage_ == Stage::kIdle ||
                       stage_ == Stage::kSetupKeys || stage_ == Stage::kSetupShares;
  if (!between) return std::nullopt;
  if (model_ && version_ >= options().round.rounds) {
    return RunEnded{EndState::kFinished, absl::StrCat("all ", version_, " rounds are published")};
  }
  if (stopping_) return RunEnded{EndState::kStopped, stop_reason_};
  if (abandoned_ >= options().round.abandoned_in_a_row) {
    return RunEnded{
        EndState::kFailed,
        absl::StrCat("version ", version_, " is the last: no round can follow (", reason_, ")")};
  }
  return std::nullopt;
}

Decision RoundMachine::DecideWaiting(absl::Duration left, const std::set<std::string>& present) {
  const auto there = static_cast<int64_t>(Pool(present).size());
  if (there >= options().round.wait_for) return {.fix_model = true};
  if (left > absl::ZeroDuration()) return {};
  return Now(RunEnded{EndState::kFailed,
                      absl::StrCat("only ", Count(there, "site"), " of ", options().round.wait_for,
                                   " came (round.wait_for)")});
}

// Joined and here; of a secure run, in the set-up.
std::vector<std::string> RoundMachine::Pool(const std::set<std::string>& present) const {
  std::vector<std::string> pool;
  for (const std::string& site : present) {
    if (joined_.contains(site)) pool.push_back(site);
  }
  return pool;
}

// Who spoilt the last set-up is asked again only where the others are too few.
std::vector<std::string> RoundMachine::SetupPool(const std::vector<std::string>& pool) const {
  std::vector<std::string> others = Without(pool, left_out_);
  const bool enough = static_cast<int64_t>(others.size()) >=
                      std::max<int64_t>(options().round.minimum, kLeastRoster);
  return enough ? others : pool;
}

bool RoundMachine::SetupUsable(const std::set<std::string>& present) const {
  if (setup_.participants.empty() || setup_.next_index >= options().secure.rounds_a_setup) {
    return false;
  }
  // Who has not been asked yet would have to wait for the next set-up.
  const auto room = model_->maximum_sites - static_cast<int64_t>(setup_.asked.size());
  const std::vector<std::string> pool = Pool(present);
  const bool late = std::any_of(pool.begin(), pool.end(), [this](const std::string& site) {
    return !std::binary_search(setup_.asked.begin(), setup_.asked.end(), site) &&
           !setup_.left_out.contains(site);
  });
  if (late && room > 0) return false;
  return static_cast<int64_t>(Both(setup_.participants, present).size()) >= least();
}

Record RoundMachine::Plan(const std::vector<std::string>& pool) const {
  int64_t count =
      SelectionSize(options().round, static_cast<int64_t>(pool.size()), model_->maximum_sites);
  if (asynchronous()) count = static_cast<int64_t>(pool.size());
  count = std::max(count, least());
  return RoundPlanned{
      .round = next_round_,
      .base_version = version_,
      .base_digest = digest_,
      .selected = SelectSites(options().seed, next_round_, pool, count),
      .secure_epoch = secure() ? setup_.epoch : -1,
      .secure_index = secure() ? setup_.next_index : -1,
  };
}

bool RoundMachine::SomeoneIsAway(const std::set<std::string>& present) const {
  // Just opened: nobody has had the time to come back.
  if (first_transition_ == transitions_) {
    return std::any_of(joined_.begin(), joined_.end(),
                       [&](const auto& joined) { return !present.contains(joined.first); });
  }
  return !asynchronous() && round_.fixed && !Without(round_.survivors, present).empty();
}

Decision RoundMachine::DecideIdle(absl::Duration now, const std::set<std::string>& present) {
  const absl::Duration end = began_ + Deadline(stage_);
  // Who took part a moment ago is given a moment to come back.
  const absl::Duration comes_back = began_ + std::min(limits_.comes_back, Deadline(stage_));
  if (SomeoneIsAway(present) && now < comes_back) return {.ask_again = comes_back};

  const int64_t minimum = asynchronous() ? 1 : options().round.minimum;
  std::vector<std::string> pool = Pool(present);
  if (static_cast<int64_t>(pool.size()) >= minimum) {
    if (!secure()) return Now(Plan(pool));
    if (SetupUsable(present)) return Now(Plan(Both(setup_.participants, present)));
    if (static_cast<int64_t>(pool.size()) >= kLeastRoster) {
      return Now(SetupStarted{next_epoch_, SelectSites(options().seed, next_round_, SetupPool(pool),
                                                       model_->maximum_sites)});
    }
  }
  if (now < end) return {.ask_again = end};
  std::vector<std::string> missing;
  for (const auto& [site, samples] : joined_) {
    if (!present.contains(site)) missing.push_back(site);
  }
  return Now(RoundAbandoned{
      next_round_,
      absl::StrCat("round ", next_round_, " had ", Count(static_cast<int64_t>(pool.size()), "site"),
                   ", at least ", std::max(minimum, secure() ? kLeastRoster : 1),
                   " are needed; waited ", absl::FormatDuration(Deadline(stage_)),
                   Named("away:", missing)),
      missing});
}

Decision RoundMachine::DecideSetup(absl::Duration left) {
  const bool keys = stage_ == Stage::kSetupKeys;
  const std::vector<std::string>& asked = keys ? setup_.asked : setup_.roster;
  const std::vector<std::string> missing = Without(asked, setup_.gave);
  if (!missing.empty() && left > absl::ZeroDuration()) return {};
  const std::vector<std::string> gave(setup_.gave.begin(), setup_.gave.end());
  const auto there = static_cast<int64_t>(gave.size());
  const int64_t needed = keys ? std::max(options().round.minimum, kLeastRoster) : threshold();
  if (there < needed) {
    return Now(
        SetupAbandoned{setup_.epoch,
                       absl::StrCat("set-up ", setup_.epoch, " had the ", keys ? "keys" : "shares",
                                    " of ", Count(there, "site"), ", at least ", needed,
                                    " are needed", Named("missing:", missing)),
                       missing});
  }
  // The threshold is the secure server's to say; this one always holds.
  if (keys) return Now(KeysClosed{setup_.epoch, gave, there});
  return Now(SharesClosed{setup_.epoch, gave});
}

RoundAbandoned RoundMachine::Abandon(std::string why) const {
  std::vector<std::string> missing = Missing();
  if (stage_ == Stage::kEcho) missing = Without(round_.survivors, round_.echoed);
  if (stage_ == Stage::kUnmask) missing = Without(setup_.participants, round_.answered);
  why = absl::StrCat("round ", round_.round, " ", why, " within ",
                     absl::FormatDuration(Deadline(stage_)), Named("missing:", missing));
  return {round_.round, std::move(why), std::move(missing)};
}

Decision RoundMachine::DecideCollect(absl::Duration left) {
  const auto have = static_cast<int64_t>(updates_.size());
  if (have < goal() && (left > absl::ZeroDuration())) return {};
  if (have < least()) {
    return Now(Abandon(absl::StrCat("had ", Count(have, "update"), " of at least ", least())));
  }
  SurvivorsFixed fixed{.round = round_.round};
  const int64_t taken = asynchronous() ? goal() : have;
  for (int64_t i = 0; i < taken; ++i) fixed.sites.push_back(updates_[i].site);
  if (!asynchronous()) std::sort(fixed.sites.begin(), fixed.sites.end());
  return Now(std::move(fixed));
}

Decision RoundMachine::DecideUnmask(absl::Duration left) {
  const bool echo = stage_ == Stage::kEcho;
  const auto have = static_cast<int64_t>((echo ? round_.echoed : round_.answered).size());
  const bool over = left <= absl::ZeroDuration();
  if (echo &&
      (have == static_cast<int64_t>(round_.survivors.size()) || (over && have >= threshold()))) {
    return Now(EchoesClosed{round_.round});
  }
  if (!over) return {};
  return Now(Abandon(
      absl::StrCat("had ", Count(have, echo ? "echo" : "answer"), " of at least ", threshold())));
}

}  // namespace ds::federated
