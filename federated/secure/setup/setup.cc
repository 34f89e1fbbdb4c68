#include "federated/secure/setup/setup.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/setup/payload.h"

namespace ds::federated::secure {
namespace {

std::string Joined(absl::string_view label, const Header& header, int64_t number,
                   const Bytes32& hash) {
  return std::string(View(HashFields(
      label, {header.run, std::to_string(header.epoch), std::to_string(number), View(hash)})));
}

std::string Packed(const std::vector<bool>& bits) {
  PayloadWriter out;
  out.U32(static_cast<uint32_t>(bits.size()));
  out.Bits(bits);
  return out.Take();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Setup>> Setup::FromRoster(absl::string_view roster) {
  DS_ASSIGN_OR_RETURN(RosterMessage message, DecodeRoster(roster));
  std::unique_ptr<Setup> setup(new Setup());
  setup->header_ = message.header;
  setup->threshold_ = static_cast<int>(message.threshold);
  setup->colluders_ = static_cast<int>(message.colluders);
  for (const std::string& bytes : message.keys) {
    DS_ASSIGN_OR_RETURN(Keys keys, DecodeKeys(bytes));
    if (keys.header.run != message.header.run || keys.header.epoch != message.header.epoch)
      return absl::DataLossError(
          absl::StrCat("roster: the keys of ", keys.site, " are of another run or set-up"));
    if (!setup->members_.empty()) {
      const Keys& before = setup->members_.back();
      if (before.site >= keys.site)
        return absl::DataLossError(absl::StrCat("roster: ", keys.site, " is not in its place"));
      if (before.mask_keys.size() != keys.mask_keys.size())
        return absl::DataLossError(
            absl::StrCat("roster: ", keys.site, " has keys for another number of rounds"));
    }
    setup->members_.push_back(std::move(keys));
  }
  if (setup->members_.empty()) return absl::DataLossError("roster: no site");
  if (message.threshold < 1 || message.threshold > setup->members_.size())
    return absl::DataLossError(absl::StrCat("roster: a threshold of ", message.threshold, " for ",
                                            setup->members_.size(), " sites"));
  setup->roster_hash_ = HashFields("roster", {roster});
  if (!setup->NeedsNonces()) {
    setup->setup_hash_ = setup->roster_hash_;
    setup->neighbours_ = std::make_unique<Neighbours>(setup->sites(), setup->threshold_,
                                                      setup->colluders_, Bytes32{});
  }
  return setup;
}

int Setup::PositionOf(absl::string_view site) const {
  const auto found =
      std::lower_bound(members_.begin(), members_.end(), site,
                       [](const Keys& keys, absl::string_view name) { return keys.site < name; });
  if (found == members_.end() || found->site != site) return -1;
  return static_cast<int>(found - members_.begin());
}

absl::Status Setup::VerifyMember(int position, const SiteIdentity& identity) const {
  const Keys& keys = members_[position];
  return Annotate(identity.Verify(keys.site, keys.certificate, KeysToSign(keys), keys.signature),
                  absl::StrCat("the keys of ", keys.site, " for set-up ", header_.epoch));
}

absl::Status Setup::Open(const std::vector<Bytes32>& nonces) {
  if (nonces.size() != members_.size())
    return absl::DataLossError(
        absl::StrCat(nonces.size(), " nonces for ", members_.size(), " sites"));
  std::string all;
  for (size_t i = 0; i < nonces.size(); ++i) {
    if (NonceCommitment(header_, members_[i].site, Secret(nonces[i])) != members_[i].nonce)
      return absl::DataLossError(
          absl::StrCat("the nonce of ", members_[i].site, " is not the one it committed to"));
    absl::StrAppend(&all, View(nonces[i]));
  }
  setup_hash_ = HashFields("opened", {View(roster_hash_), all});
  neighbours_ = std::make_unique<Neighbours>(sites(), threshold_, colluders_, setup_hash_);
  return absl::OkStatus();
}

std::string KeysToSign(const Keys& keys) {
  return std::string(View(HashFields("keys", {keys.SignedPart()})));
}

Bytes32 NonceCommitment(const Header& header, absl::string_view site, const Secret& nonce) {
  return HashFields("nonce", {header.run, std::to_string(header.epoch), site, View(nonce)});
}

Bytes32 SeedCommitment(const Header& header, absl::string_view site, int64_t index,
                       absl::string_view seed) {
  return HashFields("seed",
                    {header.run, std::to_string(header.epoch), site, std::to_string(index), seed});
}

std::string SetupToSign(const Header& header, absl::string_view site, const Bytes32& setup) {
  return std::string(
      View(HashFields("set-up", {header.run, std::to_string(header.epoch), site, View(setup)})));
}

Tag ShareTag(const Bytes32& setup, int owner, int holder, int number, absl::string_view share) {
  const Bytes32 hash = HashFields("share", {View(setup), std::to_string(owner),
                                            std::to_string(holder), std::to_string(number), share});
  Tag tag;
  std::copy_n(hash.begin(), tag.size(), tag.begin());
  return tag;
}

Bytes32 TranscriptOf(const Setup& setup, const std::vector<bool>& participants,
                     const SecureRound& round) {
  return HashFields("transcript",
                    {round.run, std::to_string(round.epoch), std::to_string(round.round),
                     std::to_string(round.index), round.base_digest, View(setup.hash()),
                     Packed(participants), std::to_string(setup.threshold()),
                     std::to_string(round.bits), std::to_string(round.values)});
}

Bytes32 SurvivorsHash(const Bytes32& transcript, const std::vector<bool>& survivors) {
  return HashFields("survivors", {View(transcript), Packed(survivors)});
}

std::string EchoToSign(const Header& header, int64_t round, const Bytes32& survivors) {
  return Joined("echo", header, round, survivors);
}

std::string NoteToSign(const Header& header, int64_t round, const Bytes32& survivors) {
  return Joined("note", header, round, survivors);
}

absl::StatusOr<Secret> PairMaskKey(const X25519Key& key, const Bytes32& their_public,
                                   const Bytes32& transcript, int a, int b) {
  DS_ASSIGN_OR_RETURN(const Secret shared, key.Agree(their_public));
  return HkdfSecret(View(shared), View(transcript),
                    absl::StrCat("pair ", std::min(a, b), " ", std::max(a, b)));
}

Secret SelfMaskKey(absl::string_view seed, const Bytes32& transcript) {
  return HkdfSecret(seed, View(transcript), "self");
}

absl::StatusOr<Secret> ChannelKey(const X25519Key& key, const Bytes32& their_public,
                                  const Bytes32& setup, int from, int to) {
  DS_ASSIGN_OR_RETURN(const Secret shared, key.Agree(their_public));
  return HkdfSecret(View(shared), View(setup), absl::StrCat("shares ", from, " to ", to));
}

}  // namespace ds::federated::secure
