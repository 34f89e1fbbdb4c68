#include "federated/aggregator/situation.h"

#include <algorithm>

namespace ds::federated {
namespace {

Phase PhaseOf(const RoundMachine& machine) {
  switch (machine.stage()) {
    case Stage::kEmpty:
    case Stage::kWaiting:
      return Phase::kWaiting;
    case Stage::kSetupKeys:
      return Phase::kSetupKeys;
    case Stage::kSetupShares:
      return Phase::kSetupShares;
    case Stage::kIdle:
    case Stage::kCollect:
      return Phase::kCollect;
    case Stage::kEcho:
    case Stage::kUnmask:
      return Phase::kUnmask;
    case Stage::kPublish:
      return machine.secure() ? Phase::kUnmask : Phase::kCollect;
    case Stage::kEnded:
      return Phase::kEnded;
  }
  return Phase::kEnded;
}

double SecondsLeft(const RoundMachine& machine, absl::Duration now) {
  const absl::Duration left = machine.stage_began() + machine.Deadline(machine.stage()) - now;
  return left == absl::InfiniteDuration() ? 0 : std::max(0.0, absl::ToDoubleSeconds(left));
}

RoundPlan PlanOf(const std::string& site, const RoundMachine& machine, absl::Duration now) {
  const RoundState& round = machine.round();
  RoundPlan plan{.round = round.round,
                 .base_version = round.base_version,
                 .base_digest = round.base_digest,
                 .seconds_left = SecondsLeft(machine, now),
                 .secure_epoch = round.secure_epoch,
                 .secure_index = round.secure_index};
  if (machine.asynchronous()) {
    plan.round = machine.NextUpdateOf(site);
    plan.base_version = machine.version();
    plan.base_digest = machine.model_digest();
    plan.selected = machine.has_model() && machine.joined().contains(site);
    return plan;
  }
  const Stage stage = machine.stage();
  const bool takes_part = std::binary_search(round.selected.begin(), round.selected.end(), site) &&
                          stage != Stage::kIdle;
  // Once the survivors are fixed, who is not among them is not waited for.
  plan.selected =
      takes_part && (stage == Stage::kCollect ||
                     std::binary_search(round.survivors.begin(), round.survivors.end(), site));
  return plan;
}

void AddPublished(const std::string& site, const RoundMachine& machine,
                  const Publications& publications, Situation& situation) {
  for (const PublishedVersion& version : publications.kept()) {
    PublishedRef ref{version.version, version.blob.digest, version.model_digest, version.round};
    const auto counted = version.counted.find(site);
    ref.counted = counted != version.counted.end();
    // A site knows its updates by its own numbers.
    if (machine.asynchronous()) ref.round = ref.counted ? counted->second : -1;
    situation.recent.push_back(std::move(ref));
  }
  if (const SnapshotTaken* snapshot = publications.snapshot()) {
    situation.snapshot = snapshot->blob.digest;
    situation.snapshot_version = snapshot->version;
  }
}

}  // namespace

Situation SituationOf(const std::string& site, const RoundMachine& machine,
                      const Publications& publications, const SecureEpochs* secure,
                      absl::Duration now) {
  Situation situation{.number = static_cast<uint64_t>(machine.records()),
                      .phase = PhaseOf(machine),
                      .end = machine.end(),
                      .reason = machine.last_reason(),
                      .version = machine.version(),
                      .model_digest = machine.model_digest()};
  AddPublished(site, machine, publications, situation);
  if (machine.round().round >= 0 || machine.asynchronous()) {
    situation.plan = PlanOf(site, machine, now);
    situation.committed = machine.UpdateOf(site, situation.plan.round) != nullptr;
  }
  if (secure != nullptr) {
    const SecureAsking asking = secure->AskOf(site, machine);
    situation.secure_epoch = asking.epoch;
    situation.secure_payload = asking.payload;
  }
  return situation;
}

}  // namespace ds::federated
