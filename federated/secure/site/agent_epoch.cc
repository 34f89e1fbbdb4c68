#include "federated/secure/site/agent_epoch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/crypto/shamir.h"
#include "federated/secure/setup/thresholds.h"

namespace ds::federated::secure {
namespace {

absl::Status Wrong(const Header& header, absl::string_view what) {
  return absl::PermissionDeniedError(
      absl::StrCat("the aggregator of run ", header.run, ", set-up ", header.epoch, ": ", what));
}

}  // namespace

AgentEpoch::~AgentEpoch() {
  Wipe(own_shares_);
  for (std::string& shares : held_) Wipe(shares);
}

absl::StatusOr<std::unique_ptr<AgentEpoch>> AgentEpoch::Create(const Header& header, int64_t rounds,
                                                               const SiteIdentity& identity,
                                                               VaultEntries& vault) {
  std::unique_ptr<AgentEpoch> epoch(new AgentEpoch());
  epoch->header_ = header;
  epoch->site_ = identity.site();
  epoch->channel_ = RandomSecret();
  epoch->signing_ = RandomSecret();
  epoch->nonce_ = RandomSecret();
  Keys keys{.header = header, .site = identity.site(), .certificate = identity.certificate()};
  keys.channel = X25519Public(epoch->channel_);
  keys.signing = Ed25519Public(epoch->signing_);
  keys.nonce = NonceCommitment(header, keys.site, epoch->nonce_);
  for (int64_t index = 0; index < rounds; ++index) {
    epoch->mask_keys_.push_back(RandomSecret());
    epoch->seeds_.push_back(RandomSecret());
    keys.mask_keys.push_back(X25519Public(epoch->mask_keys_.back()));
    keys.seeds.push_back(SeedCommitment(header, keys.site, index, View(epoch->seeds_.back())));
  }
  DS_ASSIGN_OR_RETURN(keys.signature, identity.Sign(KeysToSign(keys)));
  epoch->offer_ = keys.Encode();
  DS_RETURN_IF_ERROR(epoch->Save(vault, "keys", epoch->EncodeKeys()));
  return epoch;
}

absl::Status AgentEpoch::TakeRoster(absl::string_view roster, const SiteIdentity& identity,
                                    const SecureFloors& floors, int64_t colluders) {
  auto parsed = Setup::FromRoster(roster);
  if (!parsed.ok()) return Wrong(header_, parsed.status().message());
  std::unique_ptr<Setup> setup = *std::move(parsed);
  if (setup->header().run != header_.run || setup->header().epoch != header_.epoch)
    return Wrong(header_, "its roster is of another run or set-up");
  if (setup->rounds() != rounds())
    return Wrong(header_,
                 absl::StrCat("its roster is for ", setup->rounds(), " rounds, not ", rounds()));
  const int position = setup->PositionOf(site_);
  if (position < 0) return Wrong(header_, absl::StrCat("its roster leaves out ", site_));
  if (setup->member(position).Encode() != offer_)
    return Wrong(header_, absl::StrCat("its roster has other keys of ", site_,
                                       " than this site gave (a substituted key, or this site's "
                                       "folder was put back to an earlier state)"));
  DS_RETURN_IF_ERROR(CheckFloors(*setup, floors, colluders));
  for (int i = 0; i < setup->sites(); ++i) {
    if (i == position) continue;
    const absl::Status verified = setup->VerifyMember(i, identity);
    if (!verified.ok()) return Wrong(header_, verified.message());
  }
  position_ = position;
  setup_ = std::move(setup);
  roster_ = std::string(roster);
  return absl::OkStatus();
}

absl::Status AgentEpoch::TakeOpenings(absl::string_view bytes) {
  const auto openings = DecodeOpenings(bytes);
  if (!openings.ok()) return Wrong(header_, openings.status().message());
  if (setup_ == nullptr || openings->header.run != header_.run ||
      openings->header.epoch != header_.epoch || openings->roster != setup_->roster_hash())
    return Wrong(header_, "it opens the nonces of another roster than it gave");
  if (setup_->ready()) {
    if (openings->nonces != nonces_) return Wrong(header_, "it opens other nonces than before");
    return absl::OkStatus();
  }
  if (!setup_->NeedsNonces()) return Wrong(header_, "it opens nonces where none are needed");
  const absl::Status opened = setup_->Open(openings->nonces);
  if (!opened.ok()) return Wrong(header_, opened.message());
  nonces_ = openings->nonces;
  return absl::OkStatus();
}

absl::StatusOr<std::string> AgentEpoch::SealShares(absl::string_view asked,
                                                   const SiteIdentity& identity,
                                                   const SecureFloors& floors, int64_t colluders,
                                                   VaultEntries& vault) {
  const auto kind = KindOf(asked);
  if (kind.ok() && *kind == Kind::kOpenings) {
    DS_RETURN_IF_ERROR(TakeOpenings(asked));
  } else if (setup_ == nullptr) {
    DS_RETURN_IF_ERROR(TakeRoster(asked, identity, floors, colluders));
    const absl::Status saved =
        setup_->ready() ? absl::OkStatus() : Save(vault, "setup", EncodeSetup());
    if (!saved.ok()) {
      setup_.reset();
      return saved;
    }
  } else if (asked != roster_) {
    return Wrong(header_, "it gives another roster than before");
  }
  if (!setup_->ready() || (setup_->NeedsNonces() && asked == roster_))
    return Opening{.header = header_, .roster = setup_->roster_hash(), .nonce = nonce_}.Encode();
  if (sealed_.empty()) {
    DS_ASSIGN_OR_RETURN(sealed_, MakeShares());
    const absl::Status saved = Save(vault, "setup", EncodeSetup());
    if (!saved.ok()) {
      sealed_.clear();  // made again: these never left
      return saved;
    }
  }
  return sealed_;
}

absl::StatusOr<std::string> AgentEpoch::MakeShares() {
  const Neighbours& neighbours = setup_->neighbours();
  const absl::Span<const int> holders = neighbours.Holders(position_);
  std::string secrets;
  for (int64_t i = 0; i < rounds(); ++i)
    absl::StrAppend(&secrets, View(seeds_[i]), View(mask_keys_[i]));
  std::string random((neighbours.share_threshold() - 1) * secrets.size(), '\0');
  FillRandom(absl::MakeSpan(reinterpret_cast<uint8_t*>(random.data()), random.size()));
  std::vector<std::string> shares = secure::Share(secrets, neighbours.share_threshold(),
                                                  static_cast<int>(holders.size()), random);
  Wipe(secrets);
  Wipe(random);
  Shares message{.header = header_, .setup = setup_->hash()};
  message.signature = Sign(SetupToSign(header_, site_, setup_->hash()));
  const X25519Key channel(channel_);
  for (size_t at = 0; at < holders.size(); ++at) {
    const int holder = holders[at];
    SealedShares entry{.site = static_cast<uint32_t>(holder)};
    for (int64_t number = 0; number < 2 * rounds(); ++number)
      entry.tags.push_back(
          ShareTag(setup_->hash(), position_, holder, static_cast<int>(number),
                   absl::string_view(shares[at]).substr(number * kKeyBytes, kKeyBytes)));
    if (holder == position_) {
      own_shares_ = shares[at];
    } else {
      const auto key =
          ChannelKey(channel, setup_->member(holder).channel, setup_->hash(), position_, holder);
      if (!key.ok())
        return Wrong(header_,
                     absl::StrCat(setup_->member(holder).site, ": ", key.status().message()));
      std::array<uint8_t, kSealNonceBytes> nonce;
      FillRandom(absl::MakeSpan(nonce));
      entry.sealed = absl::StrCat(View(nonce), Seal(*key, View(nonce), "", shares[at]));
    }
    Wipe(shares[at]);
    message.entries.push_back(std::move(entry));
  }
  return message.Encode();
}

// Bad shares are their owner's or the aggregator's fault, which cannot be told apart here: they are
// left out, and the aggregator hears of it with the answer.
absl::Status AgentEpoch::TakeEntry(const SealedShares& entry, const Signature& signature,
                                   const X25519Key& channel, std::vector<std::string>* warnings) {
  const int owner = static_cast<int>(entry.site);
  const Keys& keys = setup_->member(owner);
  if (!Ed25519Verify(keys.signing, SetupToSign(header_, keys.site, setup_->hash()), signature))
    return Wrong(header_, absl::StrCat("it gave ", keys.site,
                                       " another roster than this site, or "
                                       "forged its word on it"));
  const auto key = ChannelKey(channel, keys.channel, setup_->hash(), owner, position_);
  absl::StatusOr<std::string> shares = absl::DataLossError("its key is none");
  if (key.ok() && entry.sealed.size() > kSealNonceBytes)
    shares = Unseal(*key, absl::string_view(entry.sealed).substr(0, kSealNonceBytes), "",
                    absl::string_view(entry.sealed).substr(kSealNonceBytes));
  const size_t count = 2 * static_cast<size_t>(rounds());
  bool good = shares.ok() && shares->size() == count * kKeyBytes && entry.tags.size() == count;
  for (size_t number = 0; good && number < count; ++number)
    good = entry.tags[number] ==
           ShareTag(setup_->hash(), owner, position_, static_cast<int>(number),
                    absl::string_view(*shares).substr(number * kKeyBytes, kKeyBytes));
  if (good) {
    held_[owner] = *std::move(shares);
  } else {
    warnings->push_back(absl::StrCat("set-up ", header_.epoch, ": the shares of ", keys.site,
                                     " do not open; this site cannot help to unmask it"));
  }
  return absl::OkStatus();
}

absl::Status AgentEpoch::OpenInbox(absl::string_view bytes, const SecureFloors& floors,
                                   VaultEntries& vault, std::vector<std::string>* warnings) {
  if (sealed_.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, ": an inbox before this site sealed its shares"));
  const Bytes32 hash = HashFields("inbox", {bytes});
  if (ready()) {
    if (hash != inbox_hash_) return Wrong(header_, "it gives another inbox than before");
    return DropOpened(vault);
  }
  const auto inbox = DecodeInbox(bytes);
  if (!inbox.ok()) return Wrong(header_, inbox.status().message());
  if (inbox->header.run != header_.run || inbox->header.epoch != header_.epoch ||
      inbox->setup != setup_->hash())
    return Wrong(header_, "its inbox is of another roster than it gave this site");
  const std::vector<bool>& in = inbox->participants;
  if (static_cast<int>(in.size()) != setup_->sites() || !in[position_])
    return Wrong(header_, "its participants leave out this site, or are not of the roster");
  const int64_t count = std::count(in.begin(), in.end(), true);
  if (count < setup_->threshold() || count < std::max(floors.sites, kLeastSites))
    return Wrong(header_,
                 absl::StrCat("it goes on with ", count, " participants; the threshold is ",
                              setup_->threshold(), ", this site insists on ",
                              std::max(floors.sites, kLeastSites)));
  held_.assign(in.size(), "");
  held_[position_] = own_shares_;
  std::vector<uint32_t> due, given;
  for (int owner : setup_->neighbours().Holders(position_)) {
    if (owner != position_ && in[owner]) due.push_back(static_cast<uint32_t>(owner));
  }
  for (const auto& [entry, signature] : inbox->entries) given.push_back(entry.site);
  if (due != given) return Wrong(header_, "it keeps back the shares of a participant");
  const X25519Key channel(channel_);
  for (const auto& [entry, signature] : inbox->entries)
    DS_RETURN_IF_ERROR(TakeEntry(entry, signature, channel, warnings));
  participants_ = in;
  inbox_hash_ = hash;
  const absl::Status saved = Save(vault, "inbox", EncodeInbox());
  if (!saved.ok()) {
    participants_.clear();
    return saved;
  }
  return DropOpened(vault);
}

absl::Status AgentEpoch::DropOpened(VaultEntries& vault) {
  if (own_shares_.empty()) return absl::OkStatus();
  channel_ = Secret();
  DS_RETURN_IF_ERROR(Save(vault, "keys", EncodeKeys()));
  std::string own = std::exchange(own_shares_, {});
  const absl::Status saved = Save(vault, "setup", EncodeSetup());
  if (!saved.ok()) {
    own_shares_ = std::move(own);  // to be tried again
    return saved;
  }
  Wipe(own);
  return absl::OkStatus();
}

HeldShare AgentEpoch::Share(int owner, int64_t index) const {
  HeldShare share;
  const std::string& held = held_[owner];
  const size_t at = static_cast<size_t>(index) * 2 * kKeyBytes;
  if (held.size() < at + 2 * kKeyBytes) return share;
  share.seed_there = share.key_there = true;
  std::copy_n(held.begin() + at, kKeyBytes, share.seed.begin());
  std::copy_n(held.begin() + at + kKeyBytes, kKeyBytes, share.key.begin());
  return share;
}

}  // namespace ds::federated::secure
