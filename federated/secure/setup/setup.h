// What all parties of an epoch know alike: the roster with everybody's public keys, the threshold,
// the neighbourhoods, and the hashes that later messages are bound to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/neighbours.h"

namespace ds::federated::secure {

class Setup {
 public:
  // From a roster's bytes: names distinct and in order, all of one run, epoch and number of rounds.
  // DataLoss otherwise. Signatures are not looked at: VerifyMember.
  static absl::StatusOr<std::unique_ptr<Setup>> FromRoster(absl::string_view roster);

  const Header& header() const { return header_; }
  int sites() const { return static_cast<int>(members_.size()); }
  int rounds() const { return static_cast<int>(members_[0].mask_keys.size()); }
  int threshold() const { return threshold_; }
  int colluders() const { return colluders_; }
  const Keys& member(int position) const { return members_[position]; }
  int PositionOf(absl::string_view site) const;  // -1: none
  const Bytes32& roster_hash() const { return roster_hash_; }

  // The certificate is the site's and its key signed the site's keys: PermissionDenied if not.
  absl::Status VerifyMember(int position, const SiteIdentity& identity) const;

  // Above kMostComplete sites the neighbours wait for the nonces. DataLoss names the site whose
  // nonce is not the one it committed to.
  bool NeedsNonces() const { return sites() > kMostComplete; }
  absl::Status Open(const std::vector<Bytes32>& nonces);
  bool ready() const { return neighbours_ != nullptr; }

  // Of roster and nonces; ready() only.
  const Bytes32& hash() const { return setup_hash_; }
  const Neighbours& neighbours() const { return *neighbours_; }

 private:
  Setup() = default;

  Header header_;
  int threshold_ = 0;
  int colluders_ = 0;
  std::vector<Keys> members_;
  Bytes32 roster_hash_{};
  Bytes32 setup_hash_{};
  std::unique_ptr<Neighbours> neighbours_;
};

// The bytes that are signed or hashed, each with its purpose in it.
std::string KeysToSign(const Keys& keys);
Bytes32 NonceCommitment(const Header& header, absl::string_view site, const Secret& nonce);
Bytes32 SeedCommitment(const Header& header, absl::string_view site, int64_t index,
                       absl::string_view seed);
std::string SetupToSign(const Header& header, absl::string_view site, const Bytes32& setup);
Tag ShareTag(const Bytes32& setup, int owner, int holder, int number, absl::string_view share);
// `participants`: as the inbox names them.
Bytes32 TranscriptOf(const Setup& setup, const std::vector<bool>& participants,
                     const SecureRound& round);
Bytes32 SurvivorsHash(const Bytes32& transcript, const std::vector<bool>& survivors);
std::string EchoToSign(const Header& header, int64_t round, const Bytes32& survivors);
std::string NoteToSign(const Header& header, int64_t round, const Bytes32& survivors);

// The masks' keys. `a`, `b`: positions of the two sites, in any order.
absl::StatusOr<Secret> PairMaskKey(const X25519Key& key, const Bytes32& their_public,
                                   const Bytes32& transcript, int a, int b);
Secret SelfMaskKey(absl::string_view seed, const Bytes32& transcript);
// Of the channel from one site to another; used for one message.
absl::StatusOr<Secret> ChannelKey(const X25519Key& key, const Bytes32& their_public,
                                  const Bytes32& setup, int from, int to);

}  // namespace ds::federated::secure
