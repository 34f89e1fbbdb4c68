// A site's secrets and what it learnt in the set-up of one epoch. Every step is in the vault before
// its payload is handed out, and is taken once: asked again, it gives the same bytes, and anything
// else than before is PermissionDenied.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/options/options.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/setup/setup.h"
#include "federated/secure/site/vault_entries.h"

namespace ds::federated::secure {

// The share of one owner's secrets that this site holds, for one round of the epoch.
struct HeldShare {
  bool seed_there = false, key_there = false;
  Bytes32 seed{}, key{};
};

class AgentEpoch {
 public:
  // New secrets. FailedPrecondition where the identity cannot sign.
  static absl::StatusOr<std::unique_ptr<AgentEpoch>> Create(const Header& header, int64_t rounds,
                                                            const SiteIdentity& identity,
                                                            VaultEntries& vault);
  // As the vault has it; NotFound where it has none of this epoch.
  static absl::StatusOr<std::unique_ptr<AgentEpoch>> Restore(const Header& header,
                                                             const VaultEntries& vault);
  ~AgentEpoch();

  const std::string& offer() const { return offer_; }
  // The roster, then (NeedsNonces) the openings; the payload that answers it.
  absl::StatusOr<std::string> SealShares(absl::string_view asked, const SiteIdentity& identity,
                                         const SecureFloors& floors, int64_t colluders,
                                         VaultEntries& vault);
  // `warnings` gets the names of sites whose shares did not open.
  absl::Status OpenInbox(absl::string_view inbox, const SecureFloors& floors, VaultEntries& vault,
                         std::vector<std::string>* warnings);

  bool ready() const { return !participants_.empty(); }
  const Setup& setup() const { return *setup_; }
  int position() const { return position_; }
  // ready() only:
  const std::vector<bool>& participants() const { return participants_; }
  bool Has(int64_t index) const { return index >= forgotten_ && index < rounds(); }
  int64_t rounds() const { return static_cast<int64_t>(mask_keys_.size()); }
  const Secret& mask_key(int64_t index) const { return mask_keys_[index]; }
  const Secret& seed(int64_t index) const { return seeds_[index]; }
  HeldShare Share(int owner, int64_t index) const;
  Signature Sign(absl::string_view message) const { return Ed25519Sign(signing_, message); }

  // The secrets of rounds 0..index-1 are dropped, here and in the vault.
  absl::Status ForgetBefore(int64_t index, VaultEntries& vault);
  static absl::Status RemoveFrom(VaultEntries& vault, int64_t epoch);

 private:
  AgentEpoch() = default;
  absl::Status TakeRoster(absl::string_view roster, const SiteIdentity& identity,
                          const SecureFloors& floors, int64_t colluders);
  absl::Status TakeOpenings(absl::string_view openings);
  absl::StatusOr<std::string> MakeShares();
  absl::Status TakeEntry(const SealedShares& entry, const Signature& signature,
                         const X25519Key& channel, std::vector<std::string>* warnings);
  // What an open inbox leaves no use for goes, here and in the vault: the key that opens shares
  // (the aggregator has every sealed one, so whoever takes this disk later shall not open them),
  // and the site's own share, which the inbox's entry holds. Nothing where it is done.
  absl::Status DropOpened(VaultEntries& vault);
  std::string EncodeKeys() const;
  absl::Status DecodeKeysEntry(absl::string_view bytes);
  std::string EncodeSetup() const;
  absl::Status DecodeSetup(absl::string_view bytes);
  std::string EncodeInbox() const;
  absl::Status DecodeInboxEntry(absl::string_view bytes);
  absl::Status Save(VaultEntries& vault, const char* entry, std::string bytes) const;

  Header header_;
  std::string site_;
  Secret channel_, signing_, nonce_;
  std::vector<Secret> mask_keys_, seeds_;
  int64_t forgotten_ = 0;  // rounds whose secrets are dropped
  std::string offer_;

  std::string roster_;  // bytes
  std::vector<Bytes32> nonces_;
  std::unique_ptr<Setup> setup_;
  int position_ = -1;
  std::string sealed_;  // Shares::Encode
  // Of this site's secrets, its own part: a round, seed's and key's share. Empty once dropped.
  std::string own_shares_;

  Bytes32 inbox_hash_{};
  std::vector<bool> participants_;
  std::vector<std::string> held_;  // by owner's position, as own_shares_; empty: none
};

}  // namespace ds::federated::secure
