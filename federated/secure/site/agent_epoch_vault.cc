// An epoch's three entries in the vault: "keys" (its secrets and what was offered), "setup"
// (roster, nonces, sealed shares), "inbox" (participants and the shares that this site holds).
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/setup/payload.h"
#include "federated/secure/site/agent_epoch.h"

namespace ds::federated::secure {
namespace {

constexpr uint32_t kAnyLength = 0xffffffff;

std::string Name(const char* entry, int64_t epoch) { return absl::StrCat(entry, ".", epoch); }

}  // namespace

absl::Status AgentEpoch::Save(VaultEntries& vault, const char* entry, std::string bytes) const {
  const absl::Status status = vault.Put(Name(entry, header_.epoch), bytes);
  Wipe(bytes);
  return status;
}

std::string AgentEpoch::EncodeKeys() const {
  PayloadWriter out;
  out.String(site_);
  out.Fixed(channel_);
  out.Fixed(signing_);
  out.Fixed(nonce_);
  out.U32(static_cast<uint32_t>(forgotten_));
  out.U32(static_cast<uint32_t>(rounds()));
  for (int64_t i = 0; i < rounds(); ++i) {
    out.Fixed(mask_keys_[i]);
    out.Fixed(seeds_[i]);
  }
  out.String(offer_);
  return out.Take();
}

absl::Status AgentEpoch::DecodeKeysEntry(absl::string_view bytes) {
  PayloadReader in(bytes, "keys in the site's vault");
  site_ = in.String(kMostName);
  in.Fixed(channel_);
  in.Fixed(signing_);
  in.Fixed(nonce_);
  forgotten_ = in.U32(kMostRounds);
  const uint32_t rounds = in.Count(kMostRounds, 2 * kKeyBytes);
  mask_keys_.resize(rounds);
  seeds_.resize(rounds);
  for (uint32_t i = 0; i < rounds; ++i) {
    in.Fixed(mask_keys_[i]);
    in.Fixed(seeds_[i]);
  }
  offer_ = in.String(kAnyLength);
  return in.Finish();
}

std::string AgentEpoch::EncodeSetup() const {
  PayloadWriter out;
  out.String(roster_);
  out.U32(static_cast<uint32_t>(nonces_.size()));
  for (const Bytes32& nonce : nonces_) out.Fixed(nonce);
  out.String(sealed_);
  out.String(own_shares_);
  return out.Take();
}

absl::Status AgentEpoch::DecodeSetup(absl::string_view bytes) {
  PayloadReader in(bytes, "a set-up in the site's vault");
  roster_ = in.String(kAnyLength);
  nonces_.resize(in.Count(kMostSites, kKeyBytes));
  for (Bytes32& nonce : nonces_) in.Fixed(nonce);
  sealed_ = in.String(kAnyLength);
  own_shares_ = in.String(kAnyLength);
  DS_RETURN_IF_ERROR(in.Finish());
  DS_ASSIGN_OR_RETURN(setup_, Setup::FromRoster(roster_));
  if (!nonces_.empty()) DS_RETURN_IF_ERROR(setup_->Open(nonces_));
  position_ = setup_->PositionOf(site_);
  if (position_ < 0) return absl::DataLossError("a roster in the site's vault is of other sites");
  return absl::OkStatus();
}

std::string AgentEpoch::EncodeInbox() const {
  PayloadWriter out;
  out.Fixed(inbox_hash_);
  out.Bits(participants_);
  for (const std::string& held : held_) out.String(held);
  return out.Take();
}

absl::Status AgentEpoch::DecodeInboxEntry(absl::string_view bytes) {
  PayloadReader in(bytes, "an inbox in the site's vault");
  in.Fixed(inbox_hash_);
  participants_ = in.Bits(static_cast<size_t>(setup_->sites()));
  held_.resize(participants_.size());
  for (std::string& held : held_) held = in.String(2 * kKeyBytes * kMostRounds);
  return in.Finish();
}

absl::StatusOr<std::unique_ptr<AgentEpoch>> AgentEpoch::Restore(const Header& header,
                                                                const VaultEntries& vault) {
  std::unique_ptr<AgentEpoch> epoch(new AgentEpoch());
  epoch->header_ = header;
  DS_ASSIGN_OR_RETURN(std::string keys, vault.Get(Name("keys", header.epoch)));
  DS_RETURN_IF_ERROR(epoch->DecodeKeysEntry(keys));
  Wipe(keys);
  absl::StatusOr<std::string> setup = vault.Get(Name("setup", header.epoch));
  if (absl::IsNotFound(setup.status())) return epoch;
  DS_RETURN_IF_ERROR(setup.status());
  DS_RETURN_IF_ERROR(epoch->DecodeSetup(*setup));
  Wipe(*setup);
  absl::StatusOr<std::string> inbox = vault.Get(Name("inbox", header.epoch));
  if (absl::IsNotFound(inbox.status())) return epoch;
  DS_RETURN_IF_ERROR(inbox.status());
  DS_RETURN_IF_ERROR(epoch->DecodeInboxEntry(*inbox));
  Wipe(*inbox);
  return epoch;
}

absl::Status AgentEpoch::ForgetBefore(int64_t index, VaultEntries& vault) {
  // A kill may have come between the inbox and what it makes useless.
  DS_RETURN_IF_ERROR(DropOpened(vault));
  if (index <= forgotten_) return absl::OkStatus();
  for (int64_t i = forgotten_; i < std::min(index, rounds()); ++i)
    mask_keys_[i] = seeds_[i] = Secret();
  forgotten_ = std::min(index, rounds());
  // What is held begins at round 0: zeros where it is dropped.
  const size_t dropped = static_cast<size_t>(forgotten_) * 2 * kKeyBytes;
  for (std::string& held : held_) std::fill_n(held.begin(), std::min(dropped, held.size()), '\0');
  std::string keys = EncodeKeys(), inbox = EncodeInbox();
  const absl::Status saved = vault.PutAll(
      {}, {{Name("keys", header_.epoch), keys}, {Name("inbox", header_.epoch), inbox}});
  Wipe(keys);
  Wipe(inbox);
  return saved;
}

absl::Status AgentEpoch::RemoveFrom(VaultEntries& vault, int64_t epoch) {
  for (const char* entry : {"inbox", "setup", "keys"})
    DS_RETURN_IF_ERROR(vault.Remove(Name(entry, epoch)));
  return absl::OkStatus();
}

}  // namespace ds::federated::secure
