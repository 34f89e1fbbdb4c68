// What an aggregator decides and what it is given, one record each: the run is the sequence of
// them. A record is in the log before it has an effect outside; whoever reads the log again
// (RoundMachine::Apply) stands where the writer stood. docs/federated.md, "A round".
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "federated/wire/messages.h"

namespace ds::federated {

// Bytes that a record names: in the record itself where they are few, which saves a file and its
// syncs, else a blob of the store that was durable before.
struct BlobRef {
  std::string digest;
  int64_t size = 0;
  std::string bytes;  // all `size` of them, or empty: in the store
};

// First of all, once.
struct RunStarted {
  RunOffer offer;
};
// Again by the same site: its samples, as long as the model is not fixed.
struct SiteJoined {
  std::string site;
  int64_t samples = 0;  // 0: not declared
};
// Enough sites have joined: what an update looks like from here on, for the whole run.
struct ModelFixed {
  int64_t samples_reference = 1;
  int64_t maximum_sites = 1;
  std::string digest;  // of version 0
  int64_t values = 0;
  int64_t update_bits = 0, modulus_bits = 0;
};

// A set-up of secure aggregation.
struct SetupStarted {
  int64_t epoch = 0;
  std::vector<std::string> sites;  // sorted, as all lists of sites but where it is said
};
struct SecureGiven {
  SecureStep step = SecureStep::kKeys;
  int64_t epoch = 0;
  int64_t round = -1;  // of kEcho and kAnswer
  std::string site;
  BlobRef payload;
};
struct KeysClosed {
  int64_t epoch = 0;
  std::vector<std::string> sites;
  int64_t threshold = 0;
};
// From 256 sites on: all have opened their nonces, all are asked again.
struct SharesAskedAgain {
  int64_t epoch = 0;
};
struct SharesClosed {
  int64_t epoch = 0;
  std::vector<std::string> sites;
};
struct SetupAbandoned {
  int64_t epoch = 0;
  std::string reason;
  std::vector<std::string> missing;  // left out of the next set-up, where there are enough others
};

struct RoundPlanned {
  int64_t round = 0;
  int64_t base_version = 0;
  std::string base_digest;
  std::vector<std::string> selected;  // asynchronous: who was there
  int64_t secure_epoch = -1, secure_index = -1;
};
struct UpdateCommitted {
  int64_t round = 0;  // asynchronous: of the site's own updates, from 0
  std::string site;
  int64_t base_version = 0;
  BlobRef update;
  std::vector<std::string> notes;  // CommitRequest::secure_notes
};
// Whose updates the round's sum holds. Never two of one round.
struct SurvivorsFixed {
  int64_t round = 0;
  std::vector<std::string> sites;  // asynchronous: in the order of their commits, sites may repeat
};
// strict: all survivors, or the threshold, have echoed.
struct EchoesClosed {
  int64_t round = 0;
};
// The answers are enough to unmask.
struct AnswersClosed {
  int64_t round = 0;
};
// What the round that is published next costs; it is charged before it is released.
struct PrivacyCharged {
  int64_t round = 0;
  std::string charge;  // EncodeCharge
};
struct RoundPublished {
  int64_t round = 0;
  int64_t version = 0;  // that it makes
  BlobRef published;    // Published::Encode
  std::string model_digest;
  SiteMetrics metrics;  // sums over the sites that counted
  int64_t sites = 0;    // that counted
};
struct RoundAbandoned {
  int64_t round = 0;
  std::string reason;
  std::vector<std::string> missing;  // selected, and not heard of in time
};
struct SnapshotTaken {
  int64_t version = 0;
  BlobRef blob;  // GlobalModel::Save
};
struct StopAsked {
  std::string reason;
};
// Last of all, once.
struct RunEnded {
  EndState state = EndState::kFailed;
  std::string reason;
};

using Record =
    std::variant<RunStarted, SiteJoined, ModelFixed, SetupStarted, SecureGiven, KeysClosed,
                 SharesAskedAgain, SharesClosed, SetupAbandoned, RoundPlanned, UpdateCommitted,
                 SurvivorsFixed, EchoesClosed, AnswersClosed, PrivacyCharged, RoundPublished,
                 RoundAbandoned, SnapshotTaken, StopAsked, RunEnded>;

// "round_planned", for messages.
const char* RecordName(const Record& record);

// One entry of the log: records that hold together or not at all, as a JSON array on one line.
std::string EncodeRecords(absl::Span<const Record> records);
// DataLoss, with the field, for all that EncodeRecords does not write so byte for byte.
absl::StatusOr<std::vector<Record>> DecodeRecords(absl::string_view text);

}  // namespace ds::federated
