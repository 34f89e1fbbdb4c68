// What sites and the aggregator say to each other for secure aggregation, as plain structs with
// their bytes (docs/federated-security.md, "Messages"). A decoder takes what its encoder writes and
// nothing else: everything else is DataLoss. Positions are those of the roster.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/secure/crypto/crypto.h"

namespace ds::federated::secure {

constexpr uint32_t kMostSites = 4096;
constexpr uint32_t kMostRounds = 256;  // of an epoch
constexpr uint32_t kMostName = 128;    // bytes of a site's or run's name
constexpr uint32_t kMostCertificate = 16384;
constexpr uint32_t kMostIdentitySignature = 1024;
constexpr int kTagBytes = 16;

using Tag = std::array<uint8_t, kTagBytes>;

enum class Kind : uint8_t {
  kKeys = 1,
  kRoster = 2,
  kOpening = 3,
  kOpenings = 4,
  kShares = 5,
  kInbox = 6,
  kSurvivors = 7,
  kEcho = 8,
  kAnswer = 9,
  kNote = 10,
};

struct Header {
  std::string run;
  int64_t epoch = 0;
};

// A site's public halves for an epoch, signed with its certificate's key.
struct Keys {
  Header header;
  std::string site;
  Bytes32 channel{};  // X25519: shares travel under it
  Bytes32 signing{};  // Ed25519: for the epoch's messages; the certificate may be renewed meanwhile
  Bytes32 nonce{};    // commitment to the site's nonce
  std::vector<Bytes32> mask_keys;  // X25519, one a round
  std::vector<Bytes32> seeds;      // commitments to the self-seeds, one a round
  std::string certificate;         // PEM
  std::string signature;           // over SignedPart
  std::string SignedPart() const;
  std::string Encode() const;
};
absl::StatusOr<Keys> DecodeKeys(absl::string_view bytes);

// All sites' keys, in the order of their names.
struct RosterMessage {
  Header header;
  uint32_t threshold = 0;
  uint32_t colluders = 0;
  std::vector<std::string> keys;  // Keys::Encode
  std::string Encode() const;
};
absl::StatusOr<RosterMessage> DecodeRoster(absl::string_view bytes);

struct Opening {
  Header header;
  Bytes32 roster{};  // hash
  Secret nonce;
  std::string Encode() const;
};
absl::StatusOr<Opening> DecodeOpening(absl::string_view bytes);

struct Openings {
  Header header;
  Bytes32 roster{};
  std::vector<Bytes32> nonces;  // a site, in the roster's order
  std::string Encode() const;
};
absl::StatusOr<Openings> DecodeOpenings(absl::string_view bytes);

// One owner's shares for one holder.
struct SealedShares {
  uint32_t site = 0;      // position: of the holder in Shares, of the owner in Inbox
  std::string sealed;     // under the two sites' channel; a round: seed's share, key's share
  std::vector<Tag> tags;  // of each share in it, in the same order
};
struct Shares {
  Header header;
  Bytes32 setup{};        // hash that the sender has
  Signature signature{};  // over it, with the epoch's signing key
  std::vector<SealedShares> entries;
  std::string Encode() const;
};
absl::StatusOr<Shares> DecodeShares(absl::string_view bytes);

struct Inbox {
  Header header;
  Bytes32 setup{};
  std::vector<bool> participants;                           // of the roster's sites
  std::vector<std::pair<SealedShares, Signature>> entries;  // owner's, with Shares::signature
  std::string Encode() const;
};
absl::StatusOr<Inbox> DecodeInbox(absl::string_view bytes);

// What a site said of the survivors that it answered for.
struct Note {
  Header header;
  int64_t round = 0;
  Bytes32 survivors{};    // hash
  Signature signature{};  // with that epoch's signing key
  std::string Encode() const;
};
absl::StatusOr<Note> DecodeNote(absl::string_view bytes);

// Everybody's notes of the run's last answered round.
struct Previous {
  int64_t epoch = 0;
  int64_t round = 0;
  Bytes32 survivors{};  // hash
  struct Entry {
    std::string site;
    bool answered = false;
    bool noted = false;
    Signature signature{};  // of its note; where noted
  };
  std::vector<Entry> sites;  // in the order of their names
};

struct Survivors {
  Header header;
  int64_t round = 0;
  uint32_t index = 0;
  Bytes32 transcript{};
  std::vector<bool> survivors;  // of the roster's sites
  bool has_previous = false;
  Previous previous;
  std::vector<std::pair<uint32_t, Signature>> echoes;  // position, ascending
  std::string Encode() const;
};
absl::StatusOr<Survivors> DecodeSurvivors(absl::string_view bytes);

struct Echo {
  Header header;
  int64_t round = 0;
  Bytes32 survivors{};  // hash
  Signature signature{};
  std::string Encode() const;
};
absl::StatusOr<Echo> DecodeEcho(absl::string_view bytes);

struct Answer {
  Header header;
  int64_t round = 0;
  Bytes32 survivors{};  // hash
  struct Entry {
    uint32_t owner = 0;  // position
    bool has = false;    // false: the owner's shares did not open
    Bytes32 share{};     // of its seed where it survived, else of its key
  };
  std::vector<Entry> entries;  // ascending
  std::string Encode() const;
};
absl::StatusOr<Answer> DecodeAnswer(absl::string_view bytes);

// Of the first bytes of any of them.
absl::StatusOr<Kind> KindOf(absl::string_view bytes);

}  // namespace ds::federated::secure
