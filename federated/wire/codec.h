// The messages of messages.h as the bytes of federation.proto, and back. What comes in is another
// machine's word: a Decode function returns a struct whose digests, counts, enumerations and sizes
// are in range, or InvalidArgument with the message and the field; it never aborts. Unknown fields
// are skipped: that is how a newer program may say more. docs/federated-protocol.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/wire/messages.h"

namespace ds::federated {

// Sizes in bytes.
constexpr int64_t kMaxMessageBytes = 4 << 20;                   // of any message, as gRPC counts it
constexpr int64_t kMaxPayloadBytes = kMaxMessageBytes - 65536;  // SecureRequest::payload
constexpr int64_t kMaxTaskBytes = 1 << 20;
constexpr int64_t kMaxPemBytes = 1 << 16;  // certificates, signing requests
constexpr int64_t kMaxNameBytes = 256;     // run, names, tokens of the vocabulary
constexpr int64_t kMaxReasonBytes = 4096;  // texts for people; longer ones are sent cut
constexpr int64_t kMaxRecent = 8192;       // Situation::recent
constexpr int64_t kMaxNotes = 64;          // CommitRequest::secure_notes
constexpr int64_t kMaxBlobBytes = int64_t{1} << 40;

// The slowest way that whole messages are waited for, in bytes a second: gRPC does not show a part
// of one. Chunks need none of it, since they are made smaller instead.
constexpr int64_t kSlowestBytesASecond = 1 << 16;

// The newest version that both speak. FailedPrecondition names both ranges and who must be updated.
absl::StatusOr<uint32_t> NegotiateVersion(const HelloRequest& request);

std::string Encode(const HelloRequest& message);
std::string Encode(const HelloReply& message);
std::string Encode(const JoinRequest& message);
std::string Encode(const JoinReply& message);
std::string Encode(const CommitRequest& message);
std::string Encode(const CommitReply& message);
std::string Encode(const SecureRequest& message);
std::string Encode(const SecureReply& message);
std::string Encode(const EnrolRequest& message);
std::string Encode(const EnrolReply& message);
std::string Encode(const RenewRequest& message);

absl::StatusOr<HelloRequest> DecodeHelloRequest(absl::string_view bytes);
absl::StatusOr<HelloReply> DecodeHelloReply(absl::string_view bytes);
absl::StatusOr<JoinRequest> DecodeJoinRequest(absl::string_view bytes);
absl::StatusOr<JoinReply> DecodeJoinReply(absl::string_view bytes);
absl::StatusOr<CommitRequest> DecodeCommitRequest(absl::string_view bytes);
absl::StatusOr<CommitReply> DecodeCommitReply(absl::string_view bytes);
absl::StatusOr<SecureRequest> DecodeSecureRequest(absl::string_view bytes);
absl::StatusOr<SecureReply> DecodeSecureReply(absl::string_view bytes);
absl::StatusOr<EnrolRequest> DecodeEnrolRequest(absl::string_view bytes);
absl::StatusOr<EnrolReply> DecodeEnrolReply(absl::string_view bytes);
absl::StatusOr<RenewRequest> DecodeRenewRequest(absl::string_view bytes);

// A message of the Watch stream in a wire version. Version 2: a situation, or nothing but a sign of
// life. Version 1 knows no such sign: it is told the newest situation once more.
std::string EncodeSituation(const Situation& situation, uint32_t version);
std::string EncodeSignOfLife();  // version 2
struct WatchEvent {
  bool sign_of_life = false;
  Situation situation;  // where it is not
};
absl::StatusOr<WatchEvent> DecodeWatchEvent(absl::string_view bytes, uint32_t version);

}  // namespace ds::federated
