// What agents and the aggregator say to each other, as plain structs; federation.proto is the same
// on the wire (codec.h). Digests are 64 lower-case hexadecimal digits. docs/federated-protocol.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "federated/options/options.h"
#include "federated/update/global_model.h"

namespace ds::federated {

constexpr uint32_t kWireVersion = 2;        // spoken here
constexpr uint32_t kOldestWireVersion = 1;  // still understood

// What a site joins: the same for all of them for the whole run.
struct RunOffer {
  std::string run;   // identifies the run, random
  std::string name;  // for people
  RunOptions options;
  std::string task;   // YAML of the training (jobs/config), without data and output
  std::string model;  // digest of the ONNX file that version 0 is
};

struct HelloRequest {
  uint32_t oldest_version = kOldestWireVersion, newest_version = kWireVersion;
  std::string program;   // "ds_agent 0.1.0"
  int64_t clock_ms = 0;  // Unix time, for ds_agent check
};
struct HelloReply {
  uint32_t version = 0;  // the newest that both speak
  std::string program;
  int64_t clock_ms = 0;
  RunOffer offer;
};

struct JoinRequest {
  std::string run;
  int64_t samples = 0;   // 0: not declared
  int64_t version = -1;  // of the model that the site has; -1: none
};
// Both 0 in kWaiting: they are settled when enough sites have joined. Join is idempotent: join
// again once the phase is another one.
struct JoinReply {
  int64_t samples_reference = 0;
  int64_t maximum_sites = 0;
};

enum class Phase { kWaiting, kSetupKeys, kSetupShares, kCollect, kUnmask, kEnded };
enum class EndState { kRunning, kFinished, kFailed, kStopped, kBudgetSpent };

// Asynchronous (fedbuff): `round` counts this site's own updates and stays until the one that is
// under way is committed; base_version is the newest, but an update for an older one (its
// base_digest is what the commit names) counts as long as strategy.max_staleness allows.
struct RoundPlan {
  int64_t round = 0;         // from 0; abandoned rounds have numbers too
  int64_t base_version = 0;  // of the model that is trained
  std::string base_digest;
  bool selected = false;      // this site takes part
  double seconds_left = 0;    // to the deadline, when this was said
  int64_t secure_epoch = -1;  // set-up whose masks are used; -1: none
  int64_t secure_index = -1;  // of its rounds
};

// A published version; the blob is Published::Encode.
struct PublishedRef {
  int64_t version = 0;
  std::string blob;
  std::string model_digest;  // after it
  int64_t round = -1;        // that published it
  bool counted = false;      // this site's update of that round is in it
};

// Where the run stands, from one site's point of view. Not a sequence of events: whoever comes back
// finds all it needs in the newest one.
struct Situation {
  uint64_t number = 0;  // grows with every change
  Phase phase = Phase::kWaiting;
  EndState end = EndState::kRunning;
  std::string reason;   // of the end, or of the last round's abandonment
  int64_t version = 0;  // of the current model
  std::string model_digest;
  std::vector<PublishedRef> recent;  // newest last
  std::string
      snapshot;  // blob of GlobalModel::Save at snapshot_version; empty: version 0, from the offer
  int64_t snapshot_version = 0;
  RoundPlan plan;  // kCollect, kUnmask (asynchronous: kCollect throughout)
  bool committed =
      false;  // this site's update of plan.round is recorded (PublishedRef::counted: in a sum)
  // Secure aggregation: what this site is asked for now, as SecureAgent reads it; empty: nothing.
  int64_t secure_epoch = -1;
  std::string secure_payload;  // digest of a blob
};

struct CommitRequest {
  std::string run;
  int64_t round = 0;
  std::string base_digest;                // of the model that was trained
  std::string update;                     // digest of the packed integers, uploaded before
  std::vector<std::string> secure_notes;  // hash of the last survivors, as the secure agent says
};
struct CommitReply {
  bool counted = false;  // false: the round is closed, or this site was not selected
  std::string reason;
};

enum class SecureStep { kKeys, kShares, kEcho, kAnswer };
struct SecureRequest {
  std::string run;
  int64_t epoch = 0;
  int64_t round = -1;  // kEcho, kAnswer
  SecureStep step = SecureStep::kKeys;
  std::string payload;  // SecureAgent's
};
struct SecureReply {};

// How a site gets its certificate, and the next one (docs/federated-pki.md).
struct EnrolRequest {
  std::string token;
  std::string signing_request;  // PEM, PKCS #10
};
struct EnrolReply {
  std::string certificates;  // PEM, the site's first
  std::string authority;     // PEM
};
struct RenewRequest {
  std::string signing_request;
};

}  // namespace ds::federated
