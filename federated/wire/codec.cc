#include "federated/wire/codec.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status.h"
#include "federated/wire/options_codec.h"
#include "federated/wire/reading.h"
#include "federation.pb.h"

namespace ds::federated {
namespace {

// Far beyond any: a date in the year 10000.
constexpr int64_t kMaxClockMs = int64_t{253402300800000};
constexpr int64_t kMaxSamples = (int64_t{1} << 40) - 1;
constexpr uint32_t kMaxVersion = 1 << 16;

absl::StatusOr<RunOffer> GetOffer(const v1::RunOffer& wire) {
  RunOffer offer{
      .run = wire.run(), .name = wire.name(), .task = wire.task(), .model = wire.model()};
  DS_ASSIGN_OR_RETURN(offer.options, GetOptions(wire.options()));
  Reading reading("RunOffer");
  reading.Word("run", offer.run);
  reading.Size("name", offer.name, kMaxNameBytes);
  reading.Size("task", offer.task, kMaxTaskBytes);
  reading.Digest("model", offer.model);
  DS_RETURN_IF_ERROR(reading.status());
  return offer;
}

}  // namespace

absl::StatusOr<uint32_t> NegotiateVersion(const HelloRequest& request) {
  const uint32_t version = std::min(request.newest_version, kWireVersion);
  if (version >= request.oldest_version && version >= kOldestWireVersion) return version;
  const bool old = request.newest_version < kOldestWireVersion;
  return absl::FailedPreconditionError(absl::StrCat(
      "no common wire version: ", Cut(request.program, kMaxNameBytes), " speaks ",
      request.oldest_version, " to ", request.newest_version, ", the aggregator ",
      kOldestWireVersion, " to ", kWireVersion, "; update the ", old ? "agent" : "aggregator"));
}

std::string Encode(const HelloRequest& message) {
  v1::HelloRequest wire;
  wire.set_oldest_version(message.oldest_version);
  wire.set_newest_version(message.newest_version);
  wire.set_program(Cut(message.program, kMaxNameBytes));
  wire.set_clock_ms(message.clock_ms);
  return wire.SerializeAsString();
}

absl::StatusOr<HelloRequest> DecodeHelloRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::HelloRequest>("HelloRequest", bytes));
  Reading reading("HelloRequest");
  reading.Range("oldest_version", wire.oldest_version(), 1, kMaxVersion);
  reading.Range("newest_version", wire.newest_version(), wire.oldest_version(), kMaxVersion);
  reading.Size("program", wire.program(), kMaxNameBytes);
  reading.Range("clock_ms", wire.clock_ms(), 0, kMaxClockMs);
  DS_RETURN_IF_ERROR(reading.status());
  return HelloRequest{.oldest_version = wire.oldest_version(),
                      .newest_version = wire.newest_version(),
                      .program = wire.program(),
                      .clock_ms = wire.clock_ms()};
}

std::string Encode(const HelloReply& message) {
  v1::HelloReply wire;
  wire.set_version(message.version);
  wire.set_program(Cut(message.program, kMaxNameBytes));
  wire.set_clock_ms(message.clock_ms);
  v1::RunOffer& offer = *wire.mutable_offer();
  offer.set_run(message.offer.run);
  offer.set_name(Cut(message.offer.name, kMaxNameBytes));
  PutOptions(message.offer.options, *offer.mutable_options());
  offer.set_task(message.offer.task);
  offer.set_model(message.offer.model);
  return wire.SerializeAsString();
}

absl::StatusOr<HelloReply> DecodeHelloReply(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::HelloReply>("HelloReply", bytes));
  Reading reading("HelloReply");
  reading.Range("version", wire.version(), kOldestWireVersion, kWireVersion);
  reading.Size("program", wire.program(), kMaxNameBytes);
  reading.Range("clock_ms", wire.clock_ms(), 0, kMaxClockMs);
  DS_RETURN_IF_ERROR(reading.status());
  HelloReply reply{
      .version = wire.version(), .program = wire.program(), .clock_ms = wire.clock_ms()};
  DS_ASSIGN_OR_RETURN(reply.offer, GetOffer(wire.offer()));
  return reply;
}

std::string Encode(const JoinRequest& message) {
  v1::JoinRequest wire;
  wire.set_run(message.run);
  wire.set_samples(message.samples);
  wire.set_version(message.version);
  return wire.SerializeAsString();
}

absl::StatusOr<JoinRequest> DecodeJoinRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::JoinRequest>("JoinRequest", bytes));
  Reading reading("JoinRequest");
  reading.Word("run", wire.run());
  reading.Range("samples", wire.samples(), 0, kMaxSamples);
  reading.CountOrNone("version", wire.version());
  DS_RETURN_IF_ERROR(reading.status());
  return JoinRequest{.run = wire.run(), .samples = wire.samples(), .version = wire.version()};
}

std::string Encode(const JoinReply& message) {
  v1::JoinReply wire;
  wire.set_samples_reference(message.samples_reference);
  wire.set_maximum_sites(message.maximum_sites);
  return wire.SerializeAsString();
}

absl::StatusOr<JoinReply> DecodeJoinReply(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::JoinReply>("JoinReply", bytes));
  Reading reading("JoinReply");
  reading.Range("samples_reference", wire.samples_reference(), 0, kMaxSamples);
  reading.Range("maximum_sites", wire.maximum_sites(), 0, int64_t{1} << 31);
  DS_RETURN_IF_ERROR(reading.status());
  return JoinReply{.samples_reference = wire.samples_reference(),
                   .maximum_sites = wire.maximum_sites()};
}

std::string Encode(const CommitRequest& message) {
  v1::CommitRequest wire;
  wire.set_run(message.run);
  wire.set_round(message.round);
  wire.set_base_digest(message.base_digest);
  wire.set_update(message.update);
  for (const std::string& note : message.secure_notes) wire.add_secure_notes(note);
  return wire.SerializeAsString();
}

absl::StatusOr<CommitRequest> DecodeCommitRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::CommitRequest>("CommitRequest", bytes));
  Reading reading("CommitRequest");
  reading.Word("run", wire.run());
  reading.Count("round", wire.round());
  reading.Digest("base_digest", wire.base_digest());
  reading.Digest("update", wire.update());
  reading.Range("secure_notes (their number)", wire.secure_notes_size(), 0, kMaxNotes);
  for (const std::string& note : wire.secure_notes())
    reading.Size("secure_notes", note, kMaxNameBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return CommitRequest{.run = wire.run(),
                       .round = wire.round(),
                       .base_digest = wire.base_digest(),
                       .update = wire.update(),
                       .secure_notes = {wire.secure_notes().begin(), wire.secure_notes().end()}};
}

std::string Encode(const CommitReply& message) {
  v1::CommitReply wire;
  wire.set_counted(message.counted);
  wire.set_reason(Cut(message.reason, kMaxReasonBytes));
  return wire.SerializeAsString();
}

absl::StatusOr<CommitReply> DecodeCommitReply(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::CommitReply>("CommitReply", bytes));
  Reading reading("CommitReply");
  reading.Size("reason", wire.reason(), kMaxReasonBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return CommitReply{.counted = wire.counted(), .reason = wire.reason()};
}

std::string Encode(const SecureRequest& message) {
  v1::SecureRequest wire;
  wire.set_run(message.run);
  wire.set_epoch(message.epoch);
  wire.set_round(message.round);
  wire.set_step(static_cast<v1::SecureStep>(message.step));
  wire.set_payload(message.payload);
  return wire.SerializeAsString();
}

absl::StatusOr<SecureRequest> DecodeSecureRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(auto wire, ParseProto<v1::SecureRequest>("SecureRequest", bytes));
  Reading reading("SecureRequest");
  reading.Word("run", wire.run());
  reading.Count("epoch", wire.epoch());
  reading.CountOrNone("round", wire.round());
  reading.Range("step", wire.step(), 0, static_cast<int>(SecureStep::kAnswer));
  reading.Size("payload", wire.payload(), kMaxPayloadBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return SecureRequest{.run = wire.run(),
                       .epoch = wire.epoch(),
                       .round = wire.round(),
                       .step = static_cast<SecureStep>(wire.step()),
                       .payload = std::move(*wire.mutable_payload())};
}

std::string Encode(const SecureReply& message) { return std::string(); }

absl::StatusOr<SecureReply> DecodeSecureReply(absl::string_view bytes) {
  DS_RETURN_IF_ERROR(ParseProto<v1::SecureReply>("SecureReply", bytes).status());
  return SecureReply{};
}

std::string Encode(const EnrolRequest& message) {
  v1::EnrolRequest wire;
  wire.set_token(message.token);
  wire.set_signing_request(message.signing_request);
  return wire.SerializeAsString();
}

absl::StatusOr<EnrolRequest> DecodeEnrolRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::EnrolRequest>("EnrolRequest", bytes));
  Reading reading("EnrolRequest");
  reading.Size("token", wire.token(), kMaxReasonBytes, 1);
  reading.Size("signing_request", wire.signing_request(), kMaxPemBytes, 1);
  DS_RETURN_IF_ERROR(reading.status());
  return EnrolRequest{.token = wire.token(), .signing_request = wire.signing_request()};
}

std::string Encode(const EnrolReply& message) {
  v1::EnrolReply wire;
  wire.set_certificates(message.certificates);
  wire.set_authority(message.authority);
  return wire.SerializeAsString();
}

absl::StatusOr<EnrolReply> DecodeEnrolReply(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::EnrolReply>("EnrolReply", bytes));
  Reading reading("EnrolReply");
  reading.Size("certificates", wire.certificates(), kMaxPemBytes, 1);
  reading.Size("authority", wire.authority(), kMaxPemBytes, 1);
  DS_RETURN_IF_ERROR(reading.status());
  return EnrolReply{.certificates = wire.certificates(), .authority = wire.authority()};
}

std::string Encode(const RenewRequest& message) {
  v1::RenewRequest wire;
  wire.set_signing_request(message.signing_request);
  return wire.SerializeAsString();
}

absl::StatusOr<RenewRequest> DecodeRenewRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::RenewRequest>("RenewRequest", bytes));
  Reading reading("RenewRequest");
  reading.Size("signing_request", wire.signing_request(), kMaxPemBytes, 1);
  DS_RETURN_IF_ERROR(reading.status());
  return RenewRequest{.signing_request = wire.signing_request()};
}

}  // namespace ds::federated
