#include "federated/secure/unmasking.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/secure/crypto/shamir.h"

namespace ds::federated::secure {
namespace {

// Ciphers that are open at once.
constexpr size_t kKeysAtOnce = 256;

// A participant's shares in an epoch are numbered: seed and key of round 0, seed and key of 1, ...
int ShareNumber(int64_t index, bool survived) {
  return static_cast<int>(2 * index + (survived ? 0 : 1));
}

}  // namespace

const SealedShares& EntryFor(const Setup& setup, const Shares& shares, int owner, int holder) {
  return shares.entries[static_cast<size_t>(setup.neighbours().PointOf(owner, holder) - 1)];
}

absl::Status Unmasking::Add(const Setup& setup, const std::vector<bool>& participants,
                            const std::map<int, Shares>& owners, int holder,
                            absl::string_view payload) {
  const std::string& site = setup.member(holder).site;
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(
        absl::StrCat("the answer of ", site, " for round ", round.round, ": ", what));
  };
  const auto known = answered.find(holder);
  if (known != answered.end())
    return known->second == payload ? absl::OkStatus() : wrong("another one than before");
  const auto answer = DecodeAnswer(payload);
  if (!answer.ok()) return wrong(answer.status().message());
  if (answer->header.run != round.run || answer->header.epoch != round.epoch ||
      answer->round != round.round)
    return wrong("it is of another round");
  if (answer->survivors != hash) return wrong("it is for other survivors");
  std::vector<uint32_t> due, given;
  for (int owner : setup.neighbours().Holders(holder)) {
    if (participants[owner]) due.push_back(static_cast<uint32_t>(owner));
  }
  for (const Answer::Entry& entry : answer->entries) given.push_back(entry.owner);
  if (due != given) return wrong("its shares are not of the sites whose shares it holds");
  for (const Answer::Entry& entry : answer->entries) {
    if (!entry.has) continue;
    const int owner = static_cast<int>(entry.owner);
    const int number = ShareNumber(round.index, survivors[owner]);
    if (ShareTag(setup.hash(), owner, holder, number, View(entry.share)) !=
        EntryFor(setup, owners.at(owner), owner, holder).tags[number])
      return wrong(absl::StrCat("its share of ", setup.member(owner).site,
                                " is not the one that it was given"));
  }
  for (const Answer::Entry& entry : answer->entries) {
    if (entry.has) shares[entry.owner][holder] = entry.share;
  }
  answered[holder] = std::string(payload);
  return absl::OkStatus();
}

std::vector<int> Unmasking::Missing(const Setup& setup,
                                    const std::vector<bool>& participants) const {
  std::vector<int> missing;
  for (int owner = 0; owner < setup.sites(); ++owner) {
    if (participants[owner] &&
        static_cast<int>(shares[owner].size()) < setup.neighbours().share_threshold())
      missing.push_back(owner);
  }
  return missing;
}

std::vector<Secret> Unmasking::Recover(const Setup& setup, const std::vector<bool>& participants,
                                       std::vector<int>* broken) const {
  std::vector<Secret> secrets(setup.sites());
  const int needed = setup.neighbours().share_threshold();
  // Most owners' first shares are the same holders'.
  std::map<std::vector<uint8_t>, Recovery> recoveries;
  for (int owner = 0; owner < setup.sites(); ++owner) {
    if (!participants[owner] || static_cast<int>(shares[owner].size()) < needed) continue;
    std::vector<uint8_t> points;
    std::vector<absl::string_view> values;
    for (const auto& [holder, share] : shares[owner]) {
      if (static_cast<int>(points.size()) == needed) break;
      points.push_back(setup.neighbours().PointOf(owner, holder));
      values.push_back(View(share));
    }
    const auto recovery = recoveries.try_emplace(points, points).first;
    std::string bytes = recovery->second.Secret(values);
    std::copy_n(bytes.begin(), kKeyBytes, secrets[owner].bytes().begin());
    Wipe(bytes);
    const Keys& keys = setup.member(owner);
    const bool fits = survivors[owner]
                          ? SeedCommitment(setup.header(), keys.site, round.index,
                                           View(secrets[owner])) == keys.seeds[round.index]
                          : X25519Public(secrets[owner]) == keys.mask_keys[round.index];
    if (!fits) broken->push_back(owner);
  }
  return secrets;
}

absl::Status TakeMasks(const Setup& setup, const std::vector<bool>& participants,
                       const Unmasking& round, absl::Span<const Secret> secrets,
                       IntegerVector& sum) {
  std::vector<MaskKey> keys;
  const auto add = [&](const Secret& key, bool take) {
    keys.push_back({.key = key, .take = take});
    if (keys.size() < kKeysAtOnce) return;
    AddMasks(keys, sum);
    keys.clear();
  };
  for (int site = 0; site < setup.sites(); ++site) {
    if (!participants[site]) continue;
    if (round.survivors[site]) {
      add(SelfMaskKey(View(secrets[site]), round.transcript), true);
      continue;
    }
    const X25519Key recovered(secrets[site]);
    for (int other : setup.neighbours().Holders(site)) {
      if (!round.survivors[other]) continue;
      DS_ASSIGN_OR_RETURN(const Secret key,
                          PairMaskKey(recovered, setup.member(other).mask_keys[round.round.index],
                                      round.transcript, site, other));
      // `other` added it where it comes first.
      add(key, other < site);
    }
  }
  AddMasks(keys, sum);
  return absl::OkStatus();
}

}  // namespace ds::federated::secure
