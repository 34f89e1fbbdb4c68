// The part of the machine that secure aggregation adds: set-ups, echoes and answers.
#include <utility>

#include "base/status.h"
#include "federated/round/record_checks.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

SetupState& RoundMachine::MutableSetupOf(int64_t epoch) {
  return &SetupOf(epoch) == &next_setup_ ? next_setup_ : setup_;
}

absl::Status RoundMachine::MustBe(const SetupState& setup, int64_t epoch, SetupStep step) const {
  constexpr const char* kNames[] = {"none", "keys", "shares", "done"};
  if (setup.epoch != epoch) {
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", epoch, " is not under way, ", setup.epoch, " is"));
  }
  return Must(setup.step == step,
              absl::StrCat("'", kNames[static_cast<int>(step)], "' of set-up ", epoch,
                           ", which is at '", kNames[static_cast<int>(setup.step)], "'"));
}

void RoundMachine::Enter(SetupState& setup, SetupStep step) {
  setup.step = step;
  setup.gave.clear();
  if (&setup == &next_setup_) {
    ++next_steps_;
  } else {
    Enter(step == SetupStep::kKeys     ? Stage::kSetupKeys
          : step == SetupStep::kShares ? Stage::kSetupShares
                                       : Stage::kIdle);
  }
}

absl::Status RoundMachine::On(const SetupStarted& record) {
  DS_RETURN_IF_ERROR(Must(stage_ == Stage::kIdle || stage_ == Stage::kCollect,
                          "set-ups begin between rounds, or while sites train"));
  DS_RETURN_IF_ERROR(Must(secure(), "a set-up in a run without secure aggregation"));
  DS_RETURN_IF_ERROR(Must(!next_setup_.under_way(), "one set-up is under way already"));
  DS_RETURN_IF_ERROR(Must(record.epoch == next_epoch_, "epochs are counted one by one"));
  DS_RETURN_IF_ERROR(Must(!record.sites.empty(), "a set-up of no sites"));
  DS_RETURN_IF_ERROR(CheckSites(
      record.sites, [this](const auto& site) { return joined_.contains(site); }, "has not joined"));
  ++next_epoch_;
  next_setup_ = {};  // nobody was planned on it
  SetupState& setup = stage_ == Stage::kCollect ? next_setup_ : setup_;
  if (stage_ == Stage::kCollect) ++round_.setups_begun;
  setup = {.epoch = record.epoch, .asked = record.sites, .left_out = left_out_};
  Enter(setup, SetupStep::kKeys);
  return absl::OkStatus();
}

// What a step of secure aggregation is asked of whom, and who gave it.
struct RoundMachine::Step {
  const char* what;
  const std::vector<std::string>& asked;
  std::set<std::string>& gave;
  absl::Status due;
};

RoundMachine::Step RoundMachine::StepOf(const SecureGiven& record) {
  SetupState& setup = MutableSetupOf(record.epoch);
  const auto of_round = [&](Stage stage, const char* what) {
    if (record.epoch != setup_.epoch) {
      return absl::FailedPreconditionError(
          absl::StrCat("epoch ", record.epoch, " is not that of the round, ", setup_.epoch, " is"));
    }
    return MustBe(stage, what);
  };
  switch (record.step) {
    case SecureStep::kKeys:
      return {"keys", setup.asked, setup.gave, MustBe(setup, record.epoch, SetupStep::kKeys)};
    case SecureStep::kShares:
      return {"shares", setup.roster, setup.gave, MustBe(setup, record.epoch, SetupStep::kShares)};
    case SecureStep::kEcho:
      return {"echoes", round_.survivors, round_.echoed, of_round(Stage::kEcho, "echoes")};
    default:
      return {"answers", setup_.participants, round_.answered, of_round(Stage::kUnmask, "answers")};
  }
}

absl::Status RoundMachine::Check(const SecureGiven& record) {
  DS_RETURN_IF_ERROR(CheckBlob(record.payload));
  const bool of_round = record.step == SecureStep::kEcho || record.step == SecureStep::kAnswer;
  DS_RETURN_IF_ERROR(Must(record.round == (of_round ? round_.round : -1),
                          absl::StrCat("round ", record.round, " is not under way")));
  const Step step = StepOf(record);
  DS_RETURN_IF_ERROR(step.due);
  if (!Contains(step.asked, record.site)) {
    return absl::InvalidArgumentError(
        absl::StrCat("site '", record.site, "' was not asked for ", step.what));
  }
  if (step.gave.contains(record.site)) {
    return absl::AlreadyExistsError(
        absl::StrCat("site '", record.site, "' has given its ", step.what, " already"));
  }
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SecureGiven& record) {
  DS_RETURN_IF_ERROR(Check(record));
  StepOf(record).gave.insert(record.site);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const KeysClosed& record) {
  SetupState& setup = MutableSetupOf(record.epoch);
  DS_RETURN_IF_ERROR(MustBe(setup, record.epoch, SetupStep::kKeys));
  DS_RETURN_IF_ERROR(CheckSites(
      record.sites, [&](const auto& site) { return setup.gave.contains(site); },
      "has given no keys"));
  if (record.threshold < 1 || record.threshold > static_cast<int64_t>(record.sites.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a threshold of ", record.threshold, " of ", record.sites.size(), " sites"));
  }
  setup.roster = record.sites;
  setup.threshold = record.threshold;
  Enter(setup, SetupStep::kShares);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SharesAskedAgain& record) {
  SetupState& setup = MutableSetupOf(record.epoch);
  DS_RETURN_IF_ERROR(MustBe(setup, record.epoch, SetupStep::kShares));
  DS_RETURN_IF_ERROR(Must(!setup.asked_again && setup.gave.size() == setup.roster.size(),
                          "sites are asked again once, when all have answered"));
  setup.asked_again = true;
  Enter(setup, SetupStep::kShares);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SharesClosed& record) {
  SetupState& setup = MutableSetupOf(record.epoch);
  DS_RETURN_IF_ERROR(MustBe(setup, record.epoch, SetupStep::kShares));
  DS_RETURN_IF_ERROR(CheckSites(
      record.sites, [&](const auto& site) { return setup.gave.contains(site); },
      "has given no shares"));
  DS_RETURN_IF_ERROR(Must(static_cast<int64_t>(record.sites.size()) >= setup.threshold,
                          "fewer participants than the threshold"));
  setup.participants = record.sites;
  left_out_.clear();
  Enter(setup, SetupStep::kDone);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SetupAbandoned& record) {
  SetupState& setup = MutableSetupOf(record.epoch);
  DS_RETURN_IF_ERROR(Must(setup.under_way() && record.epoch == setup.epoch,
                          absl::StrCat("set-up ", record.epoch, " is not under way")));
  DS_RETURN_IF_ERROR(CheckSites(
      record.missing, [&](const auto& site) { return Contains(setup.asked, site); },
      "was not asked"));
  left_out_ = {record.missing.begin(), record.missing.end()};
  reason_ = record.reason;
  // Beside a round it has cost nobody a round.
  if (&setup == &setup_) ++abandoned_;
  setup = {};
  Enter(setup, SetupStep::kNone);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const EchoesClosed& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kEcho, "echoes"));
  DS_RETURN_IF_ERROR(Must(record.round == round_.round, "another round is under way"));
  DS_RETURN_IF_ERROR(Must(static_cast<int64_t>(round_.echoed.size()) >= threshold(),
                          "fewer echoes than the threshold"));
  Enter(Stage::kUnmask);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const AnswersClosed& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kUnmask, "answers"));
  DS_RETURN_IF_ERROR(Must(record.round == round_.round, "another round is under way"));
  DS_RETURN_IF_ERROR(Must(static_cast<int64_t>(round_.answered.size()) >= threshold(),
                          "fewer answers than the threshold"));
  Enter(Stage::kPublish);
  return absl::OkStatus();
}

}  // namespace ds::federated
