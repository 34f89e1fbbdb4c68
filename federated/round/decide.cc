// What time, counts and presence ask for next.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "federated/round/round_machine.h"
#include "federated/round/selection.h"
#include "federated/round/site_lists.h"

namespace ds::federated {
namespace {

Decision Now(Record record) { return {.record = std::move(record)}; }

}  // namespace

void RoundMachine::Clock::See(int64_t transitions, absl::Duration now) {
  if (seen == transitions) return;
  seen = transitions;
  began = now;
}

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
  stage_clock_.See(transitions_, now);
  next_clock_.See(next_steps_, now);
  if (stage_ == Stage::kEmpty || stage_ == Stage::kEnded) return {};
  if (auto end = EndOfRun()) return Now(*std::move(end));
  const Decision beside = DecideBeside(now, present);
  if (beside.record) return beside;
  Decision decision = DecideStage(now, present);
  decision.ask_again = std::min(decision.ask_again, beside.ask_again);
  return decision;
}

Decision RoundMachine::DecideStage(absl::Duration now, const std::set<std::string>& present) {
  const absl::Duration left = stage_began() + Deadline(stage_) - now;
  Decision decision;
  switch (stage_) {
    case Stage::kWaiting:
      decision = DecideWaiting(left, present);
      break;
    case Stage::kIdle:
      return DecideIdle(now, present);
    case Stage::kPublish:
      return {};
    case Stage::kSetupKeys:
    case Stage::kSetupShares:
      decision = DecideSetup(setup_, left);
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

// Joined and here.
std::vector<std::string> RoundMachine::Pool(const std::set<std::string>& present) const {
  std::vector<std::string> pool;
  for (const std::string& site : present) {
    if (joined_.contains(site)) pool.push_back(site);
  }
  return pool;
}

Record RoundMachine::Plan(const std::vector<std::string>& pool, const SetupState* setup) const {
  int64_t count =
      SelectionSize(options().round, static_cast<int64_t>(pool.size()), model_->maximum_sites);
  if (asynchronous()) count = static_cast<int64_t>(pool.size());
  count = std::max(count, least());
  return RoundPlanned{
      .round = next_round_,
      .base_version = version_,
      .base_digest = digest_,
      .selected = SelectSites(options().seed, next_round_, pool, count),
      .secure_epoch = setup != nullptr ? setup->epoch : -1,
      .secure_index = setup != nullptr ? setup->next_index : -1,
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
  const absl::Duration end = stage_began() + Deadline(stage_);
  // Who took part a moment ago is given a moment to come back.
  const absl::Duration comes_back = stage_began() + std::min(limits_.comes_back, Deadline(stage_));
  if (SomeoneIsAway(present) && now < comes_back) return {.ask_again = comes_back};

  int64_t minimum = asynchronous() ? 1 : options().round.minimum;
  std::vector<std::string> pool = Pool(present);
  if (secure()) {
    for (const SetupState* setup : {&next_setup_, &setup_}) {
      if (IsUsable(*setup, present)) return Now(Plan(Both(setup->participants, present), setup));
    }
    if (next_setup_.under_way()) return {};
    minimum = LeastRoster();
  }
  if (static_cast<int64_t>(pool.size()) >= minimum) {
    return Now(secure() ? StartSetup(present) : Plan(pool, nullptr));
  }
  if (now < end) return {.ask_again = end};
  std::vector<std::string> missing;
  for (const auto& [site, samples] : joined_) {
    if (!present.contains(site)) missing.push_back(site);
  }
  return Now(RoundAbandoned{
      next_round_,
      absl::StrCat("round ", next_round_, " had ", Count(static_cast<int64_t>(pool.size()), "site"),
                   ", at least ", minimum, " are needed; waited ",
                   absl::FormatDuration(Deadline(stage_)), Named("away:", missing)),
      missing});
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
