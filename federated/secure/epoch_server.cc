// The set-up; rounds are in epoch_server_rounds.cc.
#include "federated/secure/epoch_server.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "federated/secure/setup/thresholds.h"

namespace ds::federated {
namespace secure {

absl::Status EpochServer::AddKeys(const std::string& site, absl::string_view payload) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the keys of ", site, " for set-up ", header_.epoch, ": ", what));
  };
  if (!asked_.contains(site))
    return absl::PermissionDeniedError(
        absl::StrCat(site, " was not asked for keys of set-up ", header_.epoch));
  const auto known = keys_.find(site);
  if (known != keys_.end()) {
    if (known->second == payload) return absl::OkStatus();
    return wrong("other ones than before (was its folder put back to an earlier state?)");
  }
  if (setup_ != nullptr)
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, " takes no more keys"));
  const auto keys = DecodeKeys(payload);
  if (!keys.ok()) return wrong(keys.status().message());
  if (keys->header.run != header_.run || keys->header.epoch != header_.epoch)
    return wrong("they are of another run or set-up");
  if (keys->site != site) return wrong(absl::StrCat("they are signed as of ", keys->site));
  if (static_cast<int64_t>(keys->mask_keys.size()) != options_.rounds_a_setup)
    return wrong(absl::StrCat("they are for ", keys->mask_keys.size(), " rounds, not ",
                              options_.rounds_a_setup));
  if (!replaying_) {
    const absl::Status verified =
        identity_->Verify(site, keys->certificate, KeysToSign(*keys), keys->signature);
    if (!verified.ok()) return wrong(verified.message());
  }
  keys_[site] = std::string(payload);
  return absl::OkStatus();
}

absl::StatusOr<std::string> EpochServer::CloseKeys() {
  if (setup_ != nullptr) return request_;
  const int64_t sites = static_cast<int64_t>(keys_.size());
  const auto least = LeastThreshold(sites, options_.colluders);
  if (!least.ok())
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, ": ", least.status().message()));
  const int64_t threshold = std::max(options_.threshold, *least);
  if (threshold > sites)
    return absl::FailedPreconditionError(absl::StrCat("set-up ", header_.epoch, ": ", sites,
                                                      " sites gave keys, secure.threshold is ",
                                                      threshold));
  RosterMessage roster{.header = header_,
                       .threshold = static_cast<uint32_t>(threshold),
                       .colluders = static_cast<uint32_t>(options_.colluders)};
  for (const auto& [site, payload] : keys_) roster.keys.push_back(payload);
  std::string bytes = roster.Encode();
  DS_ASSIGN_OR_RETURN(setup_, Setup::FromRoster(bytes));
  return request_ = std::move(bytes);
}

std::vector<std::string> EpochServer::Awaited() const {
  std::vector<std::string> awaited;
  if (setup_ == nullptr) return awaited;
  for (int i = 0; i < setup_->sites(); ++i) {
    if (setup_->ready() ? !shares_.contains(i) : !nonces_.contains(i))
      awaited.push_back(setup_->member(i).site);
  }
  return awaited;
}

absl::Status EpochServer::AddOpening(int position, absl::string_view payload) {
  const std::string& site = setup_->member(position).site;
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the nonce of ", site, " for set-up ", header_.epoch, ": ", what));
  };
  const auto opening = DecodeOpening(payload);
  if (!opening.ok()) return wrong(opening.status().message());
  if (opening->header.run != header_.run || opening->header.epoch != header_.epoch ||
      opening->roster != setup_->roster_hash())
    return wrong("it is of another roster");
  if (!setup_->NeedsNonces()) return wrong("none was asked for");
  if (NonceCommitment(header_, site, opening->nonce) != setup_->member(position).nonce)
    return wrong("it is not the one it committed to");
  nonces_[position] = opening->nonce.bytes();
  if (setup_->ready() || static_cast<int>(nonces_.size()) < setup_->sites())
    return absl::OkStatus();
  Openings openings{.header = header_, .roster = setup_->roster_hash()};
  for (const auto& [at, nonce] : nonces_) openings.nonces.push_back(nonce);
  DS_RETURN_IF_ERROR(setup_->Open(openings.nonces));
  request_ = openings.Encode();
  return absl::OkStatus();
}

absl::Status EpochServer::CheckShares(int position, const secure::Shares& shares) const {
  const std::string& site = setup_->member(position).site;
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shares of ", site, " for set-up ", header_.epoch, ": ", what));
  };
  if (shares.header.run != header_.run || shares.header.epoch != header_.epoch ||
      shares.setup != setup_->hash())
    return wrong("they are for another roster");
  if (!replaying_ && !Ed25519Verify(setup_->member(position).signing,
                                    SetupToSign(header_, site, shares.setup), shares.signature))
    return wrong("their signature does not fit");
  const absl::Span<const int> holders = setup_->neighbours().Holders(position);
  if (shares.entries.size() != holders.size()) return wrong("they are not one a holder");
  const size_t numbers = 2 * static_cast<size_t>(setup_->rounds());
  const size_t sealed = kSealNonceBytes + numbers * kKeyBytes + kSealBytes;
  for (size_t i = 0; i < holders.size(); ++i) {
    const SealedShares& entry = shares.entries[i];
    if (static_cast<int>(entry.site) != holders[i]) return wrong("they are not one a holder");
    const size_t size = holders[i] == position ? 0 : sealed;
    if (entry.sealed.size() != size || entry.tags.size() != numbers)
      return wrong(absl::StrCat("those for ", setup_->member(holders[i]).site, " are ",
                                entry.sealed.size(), " bytes with ", entry.tags.size(),
                                " tags, must be ", size, " and ", numbers));
  }
  return absl::OkStatus();
}

absl::Status EpochServer::AddShares(const std::string& site, absl::string_view payload) {
  if (setup_ == nullptr)
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, " takes no shares yet"));
  const int position = setup_->PositionOf(site);
  if (position < 0)
    return absl::PermissionDeniedError(
        absl::StrCat(site, " is not on the roster of set-up ", header_.epoch));
  const auto kind = KindOf(payload);
  if (kind.ok() && *kind == Kind::kOpening) return AddOpening(position, payload);
  if (!setup_->ready())
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, " waits for all nonces before shares"));
  auto shares = DecodeShares(payload);
  if (!shares.ok())
    return absl::InvalidArgumentError(
        absl::StrCat("the shares of ", site, ": ", shares.status().message()));
  const auto known = shares_.find(position);
  if (known != shares_.end()) {
    if (known->second.Encode() == payload) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("the shares of ", site, " for set-up ",
                                                   header_.epoch, ": other ones than before"));
  }
  if (!participants_.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, " takes no more shares"));
  DS_RETURN_IF_ERROR(CheckShares(position, *shares));
  shares_[position] = *std::move(shares);
  return absl::OkStatus();
}

absl::Status EpochServer::CloseShares() {
  if (!participants_.empty()) return absl::OkStatus();
  if (setup_ == nullptr)
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, " has no roster yet"));
  if (!setup_->ready())
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, ": the nonces of ", absl::StrJoin(Awaited(), ", "),
                     " were not opened; a new set-up without them is needed"));
  const int64_t given = static_cast<int64_t>(shares_.size());
  const int64_t least = std::max<int64_t>(setup_->threshold(), kLeastSites);
  if (given < least)
    return absl::FailedPreconditionError(
        absl::StrCat("set-up ", header_.epoch, ": ", given, " sites gave shares, ", least,
                     " are needed; missing: ", absl::StrJoin(Awaited(), ", ")));
  participants_.resize(setup_->sites());
  for (const auto& [position, shares] : shares_) {
    participants_[position] = true;
    participant_names_.push_back(setup_->member(position).site);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> EpochServer::Inbox(const std::string& site) const {
  const int holder = ParticipantAt(site);
  if (holder < 0)
    return absl::NotFoundError(absl::StrCat(site, " takes no part in set-up ", header_.epoch));
  secure::Inbox inbox{.header = header_, .setup = setup_->hash(), .participants = participants_};
  for (int owner : setup_->neighbours().Holders(holder)) {
    if (owner == holder || !participants_[owner]) continue;
    const secure::Shares& shares = shares_.at(owner);
    inbox.entries.emplace_back(EntryFor(*setup_, shares, owner, holder), shares.signature);
    inbox.entries.back().first.site = static_cast<uint32_t>(owner);
  }
  return inbox.Encode();
}

}  // namespace secure

absl::StatusOr<std::unique_ptr<SecureServer>> SecureServer::Create(
    const SecureOptions& options, const std::string& run, int64_t epoch,
    std::vector<std::string> sites, std::shared_ptr<const SiteIdentity> identity,
    std::shared_ptr<SecureHistory> history) {
  DS_RETURN_IF_ERROR(
      LeastThreshold(static_cast<int64_t>(sites.size()), options.colluders).status());
  if (sites.size() > secure::kMostSites)
    return absl::InvalidArgumentError(absl::StrCat("secure aggregation of ", sites.size(),
                                                   " sites, at most ", secure::kMostSites));
  if (options.threshold > static_cast<int64_t>(sites.size()))
    return absl::InvalidArgumentError(
        absl::StrCat("secure.threshold is ", options.threshold, " of ", sites.size(), " sites"));
  auto known = std::dynamic_pointer_cast<secure::History>(std::move(history));
  if (known == nullptr)
    return absl::InvalidArgumentError("the run's SecureHistory::Create is missing");
  return std::make_unique<secure::EpochServer>(
      options, secure::Header{run, epoch}, std::move(sites), std::move(identity), std::move(known));
}

}  // namespace ds::federated
