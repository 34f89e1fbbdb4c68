#include "federated/round/round_machine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/round/record_checks.h"

namespace ds::federated {

const char* StageName(Stage stage) {
  constexpr const char* kNames[] = {"not started",  "waiting for sites", "between rounds",
                                    "set-up, keys", "set-up, shares",    "training",
                                    "echo",         "unmasking",         "publishing",
                                    "ended"};
  return kNames[static_cast<int>(stage)];
}

absl::Status RoundMachine::Apply(const Record& record) {
  if (stage_ == Stage::kEnded && !std::holds_alternative<SnapshotTaken>(record)) {
    return absl::FailedPreconditionError(
        absl::StrCat(RecordName(record), " after the end of the run"));
  }
  if ((stage_ == Stage::kEmpty) != std::holds_alternative<RunStarted>(record)) {
    return absl::FailedPreconditionError("a log begins with run_started, and has no other");
  }
  const absl::Status status = std::visit([this](const auto& value) { return On(value); }, record);
  if (!status.ok()) return Annotate(status, RecordName(record));
  ++records_;
  return status;
}

void RoundMachine::Enter(Stage stage) {
  stage_ = stage;
  ++transitions_;
}

absl::Status RoundMachine::MustBe(Stage stage, const char* what) const {
  if (stage_ == stage) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(what, " belong to '", StageName(stage),
                                                    "', the run is at '", StageName(stage_),
                                                    "' of round ", round_.round));
}

absl::Status RoundMachine::On(const RunStarted& record) {
  if (record.offer.run.empty()) return absl::InvalidArgumentError("a run without a name");
  const RoundOptions& round = record.offer.options.round;
  // What the machine itself counts with; CheckRunOptions has looked at the rest.
  const auto is_count = [](int64_t value, int64_t least) {
    return value >= least && value <= (int64_t{1} << 32);
  };
  if (!is_count(round.rounds, 1) || !is_count(round.minimum, 1) ||
      !is_count(round.abandoned_in_a_row, 1) || !is_count(round.goal, 0) ||
      !is_count(round.spare, 0) || !is_count(record.offer.options.strategy.buffer, 1) ||
      !is_count(record.offer.options.strategy.max_staleness, 0) || !(round.deadline_s > 0) ||
      !(round.unmask_deadline_s > 0) || !(round.sample > 0)) {
    return absl::InvalidArgumentError("the options of the rounds are out of range");
  }
  offer_ = record.offer;
  Enter(Stage::kWaiting);
  return absl::OkStatus();
}

absl::Status RoundMachine::Check(const SiteJoined& record) const {
  if (!IsSiteName(record.site)) return absl::InvalidArgumentError("not a site's name");
  if (record.samples < 0) return absl::InvalidArgumentError("samples below 0");
  const auto found = joined_.find(record.site);
  if (found != joined_.end()) {
    DS_RETURN_IF_ERROR(Must(!model_ && found->second != record.samples,
                            absl::StrCat("site '", record.site, "' has joined already")));
  }
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SiteJoined& record) {
  DS_RETURN_IF_ERROR(Check(record));
  joined_[record.site] = record.samples;
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const ModelFixed& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kWaiting, "the model's measures"));
  if (record.samples_reference < 1 || record.maximum_sites < 1 || record.values < 1 ||
      record.update_bits < 1 || record.modulus_bits < record.update_bits ||
      record.modulus_bits > 32) {
    return absl::InvalidArgumentError("the model's measures are out of range");
  }
  model_ = record;
  digest_ = record.digest;
  Enter(Stage::kIdle);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const RoundPlanned& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kIdle, "rounds' plans"));
  DS_RETURN_IF_ERROR(Must(record.round == next_round_, "rounds are counted one by one"));
  DS_RETURN_IF_ERROR(Must(record.base_version == version_ && record.base_digest == digest_,
                          "a round begins with the present model"));
  DS_RETURN_IF_ERROR(
      Must(version_ < options().round.rounds, "all rounds of the run are published"));
  const SetupState& setup = SetupOf(record.secure_epoch);
  if (secure()) {
    DS_RETURN_IF_ERROR(Must(setup.step == SetupStep::kDone && record.secure_epoch == setup.epoch &&
                                record.secure_index == setup.next_index &&
                                record.secure_index < options().secure.rounds_a_setup,
                            "the round's masks are not the next ones of the set-up"));
    DS_RETURN_IF_ERROR(CheckSites(
        record.selected, [&](const auto& site) { return Contains(setup.participants, site); },
        "is not in the set-up"));
  } else {
    DS_RETURN_IF_ERROR(Must(record.secure_epoch == -1 && record.secure_index == -1,
                            "masks in a run without secure aggregation"));
    DS_RETURN_IF_ERROR(CheckSites(
        record.selected, [this](const auto& site) { return joined_.contains(site); },
        "has not joined"));
  }
  DS_RETURN_IF_ERROR(Must(!record.selected.empty(), "a round of no sites"));
  ++next_round_;
  if (&setup == &next_setup_) setup_ = std::exchange(next_setup_, {});
  if (secure()) ++setup_.next_index;
  round_ = {.round = record.round,
            .base_version = record.base_version,
            .base_digest = record.base_digest,
            .selected = record.selected,
            .secure_epoch = record.secure_epoch,
            .secure_index = record.secure_index};
  if (!asynchronous()) {
    updates_.clear();
    update_of_.clear();
  }
  Enter(Stage::kCollect);
  return absl::OkStatus();
}

absl::Status RoundMachine::Check(const UpdateCommitted& record) const {
  DS_RETURN_IF_ERROR(CheckBlob(record.update));
  if (asynchronous()) return CheckAsynchronous(record);
  DS_RETURN_IF_ERROR(MustBe(Stage::kCollect, "updates"));
  if (record.round != round_.round || record.base_version != round_.base_version) {
    return absl::InvalidArgumentError(
        absl::StrCat("an update of round ", record.round, " for version ", record.base_version,
                     "; the run is at round ", round_.round, ", version ", round_.base_version));
  }
  if (!Contains(round_.selected, record.site)) {
    return absl::InvalidArgumentError(
        absl::StrCat("site '", record.site, "' was not selected for round ", record.round));
  }
  if (update_of_.contains(record.site)) {
    return absl::AlreadyExistsError(
        absl::StrCat("site '", record.site, "' has an update in round ", record.round, " already"));
  }
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const UpdateCommitted& record) {
  DS_RETURN_IF_ERROR(Check(record));
  if (asynchronous()) {
    next_update_[record.site] = record.round + 1;
  } else {
    update_of_[record.site] = updates_.size();
  }
  updates_.push_back({record.site, record.round, record.base_version, record.update});
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SurvivorsFixed& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kCollect, "survivors"));
  DS_RETURN_IF_ERROR(Must(record.round == round_.round, "another round is under way"));
  const auto count = static_cast<int64_t>(record.sites.size());
  DS_RETURN_IF_ERROR(Must(count >= least(), "fewer survivors than the round needs"));
  if (asynchronous()) {
    DS_RETURN_IF_ERROR(Must(count <= static_cast<int64_t>(updates_.size()), "too many updates"));
    for (int64_t i = 0; i < count; ++i) {
      DS_RETURN_IF_ERROR(
          Must(record.sites[i] == updates_[i].site, "not the updates that came first"));
    }
  } else {
    DS_RETURN_IF_ERROR(CheckSites(
        record.sites, [this](const auto& site) { return update_of_.contains(site); },
        "has no update in the round"));
  }
  round_.fixed = true;
  round_.survivors = record.sites;
  const std::string& mode = options().secure.mode;
  Enter(!secure() ? Stage::kPublish : mode == "strict" ? Stage::kEcho : Stage::kUnmask);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const PrivacyCharged& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kPublish, "charges"));
  DS_RETURN_IF_ERROR(Must(record.round == round_.round, "another round is under way"));
  DS_RETURN_IF_ERROR(Must(!round_.charged, "the round is charged already"));
  round_.charged = true;
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const RoundPublished& record) {
  DS_RETURN_IF_ERROR(MustBe(Stage::kPublish, "publications"));
  DS_RETURN_IF_ERROR(CheckBlob(record.published));
  DS_RETURN_IF_ERROR(Must(record.round == round_.round, "another round is under way"));
  DS_RETURN_IF_ERROR(Must(record.version == version_ + 1, "versions grow by one"));
  const bool finite =
      std::isfinite(record.metrics.train_loss) && std::isfinite(record.metrics.evaluation_loss);
  if (!finite) return absl::InvalidArgumentError("metrics that are not finite");
  if (asynchronous()) {
    updates_.erase(updates_.begin(), updates_.begin() + round_.survivors.size());
  }
  version_ = record.version;
  digest_ = record.model_digest;
  abandoned_ = 0;
  Enter(Stage::kIdle);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const RoundAbandoned& record) {
  const bool planned = stage_ == Stage::kCollect || stage_ == Stage::kEcho ||
                       stage_ == Stage::kUnmask || stage_ == Stage::kPublish;
  DS_RETURN_IF_ERROR(Must(planned || stage_ == Stage::kIdle, "no round is under way"));
  DS_RETURN_IF_ERROR(
      Must(record.round == (planned ? round_.round : next_round_), "another round is under way"));
  DS_RETURN_IF_ERROR(CheckSites(
      record.missing, [this](const auto& site) { return joined_.contains(site); },
      "has not joined"));
  if (!planned) ++next_round_;
  // Sites may have opened this round's masks: they answer for no other round on this model.
  const bool opened = secure() && (stage_ == Stage::kUnmask || stage_ == Stage::kPublish);
  abandoned_ = opened ? options().round.abandoned_in_a_row : abandoned_ + 1;
  reason_ = record.reason;
  Enter(Stage::kIdle);
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const SnapshotTaken& record) {
  DS_RETURN_IF_ERROR(CheckBlob(record.blob));
  return Must(model_ && record.version >= 0 && record.version <= version_,
              "a snapshot of a version that is not there");
}

absl::Status RoundMachine::On(const StopAsked& record) {
  DS_RETURN_IF_ERROR(Must(!stopping_, "the run is stopping already"));
  stopping_ = true;
  stop_reason_ = record.reason;
  return absl::OkStatus();
}

absl::Status RoundMachine::On(const RunEnded& record) {
  if (record.state == EndState::kRunning) {
    return absl::InvalidArgumentError("an end that is none");
  }
  DS_RETURN_IF_ERROR(Must(record.state != EndState::kFinished || version_ >= options().round.rounds,
                          "not all rounds are published"));
  end_ = record.state;
  reason_ = record.reason;
  next_setup_ = {};
  Enter(Stage::kEnded);
  return absl::OkStatus();
}

const HeldUpdate* RoundMachine::UpdateOf(const std::string& site, int64_t round) const {
  if (!asynchronous()) {
    const auto found = update_of_.find(site);
    const bool there = found != update_of_.end() && updates_[found->second].round == round;
    return there ? &updates_[found->second] : nullptr;
  }
  const auto found = std::find_if(updates_.begin(), updates_.end(), [&](const HeldUpdate& held) {
    return held.site == site && held.round == round;
  });
  return found == updates_.end() ? nullptr : &*found;
}

int64_t RoundMachine::goal() const {
  if (asynchronous()) return options().strategy.buffer;
  const auto selected = static_cast<int64_t>(round_.selected.size());
  const int64_t goal = options().round.goal > 0 ? options().round.goal : selected;
  return std::min(std::max(goal, least()), selected);
}

int64_t RoundMachine::least() const {
  if (asynchronous()) return options().strategy.buffer;
  return std::max(options().round.minimum, secure() ? threshold() : 1);
}

std::vector<std::string> RoundMachine::Missing() const {
  std::vector<std::string> missing;
  if (asynchronous()) return missing;
  for (const std::string& site : round_.selected) {
    if (!update_of_.contains(site)) missing.push_back(site);
  }
  return missing;
}

}  // namespace ds::federated
