#include <algorithm>
#include <string>

#include "base/status.h"
#include "federated/wire/codec.h"
#include "federated/wire/reading.h"
#include "federation.pb.h"

namespace ds::federated {
namespace {

// A round's deadline in seconds, however long: a thousand years.
constexpr double kMaxSeconds = 3.2e10;

void PutPlan(const RoundPlan& plan, v1::RoundPlan& wire) {
  wire.set_round(plan.round);
  wire.set_base_version(plan.base_version);
  wire.set_base_digest(plan.base_digest);
  wire.set_selected(plan.selected);
  wire.set_seconds_left(plan.seconds_left);
  wire.set_secure_epoch(plan.secure_epoch);
  wire.set_secure_index(plan.secure_index);
}

absl::StatusOr<RoundPlan> GetPlan(const v1::RoundPlan& wire) {
  Reading reading("RoundPlan");
  reading.Count("round", wire.round());
  reading.Count("base_version", wire.base_version());
  reading.DigestOrEmpty("base_digest", wire.base_digest());
  reading.Finite("seconds_left", wire.seconds_left());
  if (std::abs(wire.seconds_left()) > kMaxSeconds) reading.Fail("seconds_left", "is no time");
  reading.CountOrNone("secure_epoch", wire.secure_epoch());
  reading.CountOrNone("secure_index", wire.secure_index());
  DS_RETURN_IF_ERROR(reading.status());
  return RoundPlan{.round = wire.round(),
                   .base_version = wire.base_version(),
                   .base_digest = wire.base_digest(),
                   .selected = wire.selected(),
                   .seconds_left = wire.seconds_left(),
                   .secure_epoch = wire.secure_epoch(),
                   .secure_index = wire.secure_index()};
}

v1::Situation PutSituation(const Situation& situation, uint32_t version) {
  v1::Situation wire;
  wire.set_number(situation.number);
  wire.set_phase(static_cast<v1::Phase>(situation.phase));
  wire.set_end(static_cast<v1::EndState>(situation.end));
  wire.set_reason(Cut(situation.reason, kMaxReasonBytes));
  wire.set_version(situation.version);
  wire.set_model_digest(situation.model_digest);
  for (const PublishedRef& published : situation.recent) {
    v1::PublishedRef& to = *wire.add_recent();
    to.set_version(published.version);
    to.set_blob(published.blob);
    to.set_model_digest(published.model_digest);
    if (version < 2) continue;
    to.set_round(published.round);
    to.set_counted(published.counted);
  }
  wire.set_snapshot(situation.snapshot);
  wire.set_snapshot_version(situation.snapshot_version);
  PutPlan(situation.plan, *wire.mutable_plan());
  wire.set_committed(situation.committed);
  wire.set_secure_epoch(situation.secure_epoch);
  wire.set_secure_payload(situation.secure_payload);
  return wire;
}

absl::Status GetRecent(const v1::Situation& wire, Situation& situation) {
  Reading reading("Situation");
  reading.Range("recent (its length)", wire.recent_size(), 0, kMaxRecent);
  int64_t last = 0;
  for (const v1::PublishedRef& published : wire.recent()) {
    if (!reading.status().ok()) break;
    reading.Range("recent.version", published.version(), last + 1, wire.version());
    reading.Digest("recent.blob", published.blob());
    reading.Digest("recent.model_digest", published.model_digest());
    const int64_t round = published.has_round() ? published.round() : -1;
    reading.CountOrNone("recent.round", round);
    situation.recent.push_back({published.version(), published.blob(), published.model_digest(),
                                round, published.counted()});
    last = published.version();
  }
  return reading.status();
}

absl::StatusOr<Situation> GetSituation(const v1::Situation& wire) {
  Reading reading("Situation");
  reading.Range("phase", wire.phase(), 0, static_cast<int>(Phase::kEnded));
  reading.Range("end", wire.end(), 0, static_cast<int>(EndState::kBudgetSpent));
  reading.Size("reason", wire.reason(), kMaxReasonBytes);
  reading.Count("version", wire.version());
  reading.DigestOrEmpty("model_digest", wire.model_digest());
  reading.DigestOrEmpty("snapshot", wire.snapshot());
  reading.Range("snapshot_version", wire.snapshot_version(), 0,
                std::max<int64_t>(0, wire.version()));
  reading.CountOrNone("secure_epoch", wire.secure_epoch());
  reading.DigestOrEmpty("secure_payload", wire.secure_payload());
  DS_RETURN_IF_ERROR(reading.status());
  Situation situation{.number = wire.number(),
                      .phase = static_cast<Phase>(wire.phase()),
                      .end = static_cast<EndState>(wire.end()),
                      .reason = wire.reason(),
                      .version = wire.version(),
                      .model_digest = wire.model_digest(),
                      .snapshot = wire.snapshot(),
                      .snapshot_version = wire.snapshot_version(),
                      .committed = wire.committed(),
                      .secure_epoch = wire.secure_epoch(),
                      .secure_payload = wire.secure_payload()};
  DS_RETURN_IF_ERROR(GetRecent(wire, situation));
  DS_ASSIGN_OR_RETURN(situation.plan, GetPlan(wire.plan()));
  return situation;
}

}  // namespace

std::string EncodeSituation(const Situation& situation, uint32_t version) {
  v1::Situation wire = PutSituation(situation, version);
  if (version < 2) return wire.SerializeAsString();
  v1::WatchEvent event;
  event.mutable_situation()->Swap(&wire);
  return event.SerializeAsString();
}

std::string EncodeSignOfLife() { return v1::WatchEvent().SerializeAsString(); }

absl::StatusOr<WatchEvent> DecodeWatchEvent(absl::string_view bytes, uint32_t version) {
  WatchEvent event;
  if (version < 2) {
    DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::Situation>("Situation", bytes));
    DS_ASSIGN_OR_RETURN(event.situation, GetSituation(wire));
    return event;
  }
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::WatchEvent>("WatchEvent", bytes));
  event.sign_of_life = !wire.has_situation();
  if (!event.sign_of_life) {
    DS_ASSIGN_OR_RETURN(event.situation, GetSituation(wire.situation()));
  }
  return event;
}

}  // namespace ds::federated
