// The part of the machine that secure aggregation adds: set-ups, echoes and answers.
#include "base/status.h"
#include "federated/round/record_checks.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

absl::Status RoundMachine::On(const SetupStarted& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kIdle, "set-ups"));
  DS_RETURN_IF_ERROR(Must(secure(), "a set-up in a run without secure aggregation"));
  DS_RETURN_IF_ERROR(Must(record.epoch == next_epoch_, "epochs are counted one by one"));
  DS_RETURN_IF_ERROR(Must(!record.sites.empty(), "a set-up of no sites"));
  DS_RETURN_IF_ERROR(CheckSites(
      record.sites, [this](const auto& site) { return joined_.contains(site); }, "has not joined"));
  ++next_epoch_;
  setup_ = {.epoch = record.epoch, .asked = record.sites, .left_out = left_out_};
  Enter(Stage::kSetupKeys);
  return absl::OkStatus();
}

// What a step of secure aggregation is asked of whom, and who gave it.
struct RoundMachine::Step {
  Stage stage;
  const char* what;
  const std::vector<std::string>& asked;
  std::set<std::string>& gave;
};

RoundMachine::Step RoundMachine::StepOf(SecureStep step) {
  switch (step) {
    case SecureStep::kKeys:
      return {Stage::kSetupKeys, "keys", setup_.asked, setup_.gave};
    case SecureStep::kShares:
      return {Stage::kSetupShares, "shares", setup_.roster, setup_.gave};
    case SecureStep::kEcho:
      return {Stage::kEcho, "echoes", round_.survivors, round_.echoed};
    default:
      return {Stage::kUnmask, "answers", setup_.participants, round_.answered};
  }
}

absl::Status RoundMachine::Check(const SecureGiven& record) {
  DS_RETURN_IF_ERROR(CheckBlob(record.payload));
  DS_RETURN_IF_ERROR(
      Must(record.epoch == setup_.epoch,
           absl::StrCat("epoch ", record.epoch, " is not under way, ", setup_.epoch, " is")));
  const bool of_round = record.step == SecureStep::kEcho || record.step == SecureStep::kAnswer;
  DS_RETURN_IF_ERROR(Must(record.round == (of_round ? round_.round : -1),
                          absl::StrCat("round ", record.round, " is not under way")));
  const Step step = StepOf(record.step);
  DS_RETURN_IF_ERROR(MustBe(step.stage, step.what));
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
  StepOf(record.step).gave.insert(record.site);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const KeysClosed& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kSetupKeys, "keys"));
  DS_RETURN_IF_ERROR(Must(record.epoch == setup_.epoch, "another epoch is under way"));
  DS_RETURN_IF_ERROR(CheckSites(
      record.sites, [this](const auto& site) { return setup_.gave.contains(site); },
      "has given no keys"));
  if (record.threshold < 1 || record.threshold > static_cast<int64_t>(record.sites.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("a threshold of ", record.threshold, " of ", record.sites.size(), " sites"));
  }
  setup_.roster = record.sites;
  setup_.threshold = record.threshold;
  setup_.gave.clear();
  Enter(Stage::kSetupShares);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SharesAskedAgain& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kSetupShares, "shares"));
  DS_RETURN_IF_ERROR(Must(record.epoch == setup_.epoch, "another epoch is under way"));
  DS_RETURN_IF_ERROR(Must(!setup_.asked_again && setup_.gave.size() == setup_.roster.size(),
                          "sites are asked again once, when all have answered"));
  setup_.asked_again = true;
  setup_.gave.clear();
  Enter(Stage::kSetupShares);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SharesClosed& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kSetupShares, "shares"));
  DS_RETURN_IF_ERROR(Must(record.epoch == setup_.epoch, "another epoch is under way"));
  DS_RETURN_IF_ERROR(CheckSites(
      record.sites, [this](const auto& site) { return setup_.gave.contains(site); },
      "has given no shares"));
  DS_RETURN_IF_ERROR(Must(static_cast<int64_t>(record.sites.size()) >= setup_.threshold,
                          "fewer participants than the threshold"));
  setup_.participants = record.sites;
  setup_.gave.clear();
  left_out_.clear();
  Enter(Stage::kIdle);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SetupAbandoned& record) {
  DS_RETURN_IF_ERROR(
      Must(stage_ == Stage::kSetupKeys || stage_ == Stage::kSetupShares, "no set-up is under way"));
  DS_RETURN_IF_ERROR(Must(record.epoch == setup_.epoch, "another epoch is under way"));
  DS_RETURN_IF_ERROR(CheckSites(
      record.missing, [this](const auto& site) { return Contains(setup_.asked, site); },
      "was not asked"));
  left_out_ = {record.missing.begin(), record.missing.end()};
  setup_ = {};
  ++abandoned_;
  reason_ = record.reason;
  Enter(Stage::kIdle);
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
