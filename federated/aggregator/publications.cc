#include "federated/aggregator/publications.h"

#include <algorithm>
#include <utility>

namespace ds::federated {

void Publications::Before(const Record& record, const RoundMachine& machine) {
  if (const auto* started = std::get_if<RunStarted>(&record)) {
    model_ = started->offer.model;
  } else if (const auto* fixed = std::get_if<ModelFixed>(&record)) {
    digests_[0] = fixed->digest;
  } else if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
    commits_[update->site] = {update->round, update->update.digest, true, false};
  } else if (const auto* given = std::get_if<SecureGiven>(&record)) {
    secure_payloads_.insert(given->payload.digest);
  } else if (const auto* published = std::get_if<RoundPublished>(&record)) {
    PublishedVersion version{published->version, published->round, published->published,
                             published->model_digest};
    const auto count =
        machine.asynchronous() ? machine.round().survivors.size() : machine.updates().size();
    for (size_t i = 0; i < count; ++i) {
      const HeldUpdate& held = machine.updates()[i];
      freed_.push_back(held.update);
      LastCommit& last = commits_[held.site];
      if (last.round == held.round) last.open = false;
      const std::vector<std::string>& survivors = machine.round().survivors;
      const bool counts = machine.asynchronous() ||
                          std::binary_search(survivors.begin(), survivors.end(), held.site);
      if (!counts) continue;
      version.counted[held.site] = held.round;
      ++rounds_counted_[held.site];
      if (last.round == held.round) last.counted = true;
    }
    digests_[version.version] = version.model_digest;
    versions_.push_back(std::move(version));
    Trim();
  } else if (std::holds_alternative<RunEnded>(record) ||
             (std::holds_alternative<RoundAbandoned>(record) && !machine.asynchronous())) {
    for (const HeldUpdate& held : machine.updates()) {
      freed_.push_back(held.update);
      commits_[held.site].open = false;
    }
  } else if (const auto* taken = std::get_if<SnapshotTaken>(&record)) {
    if (snapshot_.has_value()) freed_.push_back(snapshot_->blob);
    snapshot_ = *taken;
    Trim();
  }
}

void Publications::Trim() {
  const int64_t snapshot = snapshot_.has_value() ? snapshot_->version : 0;
  while (versions_.size() > kLeast && versions_.front().version <= snapshot) {
    freed_.push_back(versions_.front().blob);
    versions_.erase(versions_.begin());
  }
}

const LastCommit* Publications::Of(const std::string& site) const {
  const auto found = commits_.find(site);
  return found == commits_.end() ? nullptr : &found->second;
}

int64_t Publications::RoundsCounted(const std::string& site) const {
  const auto found = rounds_counted_.find(site);
  return found == rounds_counted_.end() ? 0 : found->second;
}

std::string Publications::ModelDigest(int64_t version) const {
  const auto found = digests_.find(version);
  return found == digests_.end() ? "" : found->second;
}

std::vector<BlobRef> Publications::TakeFreed() { return std::exchange(freed_, {}); }

bool Publications::Needs(const std::string& digest, const RoundMachine& machine) const {
  if (digest == model_ || secure_payloads_.contains(digest)) return true;
  if (snapshot_.has_value() && digest == snapshot_->blob.digest) return true;
  const Stage stage = machine.stage();
  const bool in_hand = (machine.asynchronous() && stage != Stage::kEnded) ||
                       stage == Stage::kCollect || stage == Stage::kEcho ||
                       stage == Stage::kUnmask || stage == Stage::kPublish;
  const auto& held = machine.updates();
  return (std::any_of(versions_.begin(), versions_.end(),
                      [&](const auto& version) { return version.blob.digest == digest; })) ||
         (in_hand && std::any_of(held.begin(), held.end(), [&](const auto& update) {
            return update.update.digest == digest;
          }));
}

}  // namespace ds::federated
