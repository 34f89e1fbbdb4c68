// What the run has published, and what became of each site's last update: what follows from the
// log beside the machine's own state. The aggregator's own thread only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "federated/round/round_machine.h"

namespace ds::federated {

struct PublishedVersion {
  int64_t version = 0;
  int64_t round = 0;
  BlobRef blob;
  std::string model_digest;
  // Whose updates it holds, and the number (CommitRequest::round) of each.
  std::map<std::string, int64_t> counted;
};

struct LastCommit {
  int64_t round = -1;
  std::string update;
  bool open = false;     // the round is under way
  bool counted = false;  // in a published sum
};

class Publications {
 public:
  // Before the machine applies the record.
  void Before(const Record& record, const RoundMachine& machine);

  // Newest last: those since the snapshot, and a few before it.
  const std::vector<PublishedVersion>& kept() const { return versions_; }
  const SnapshotTaken* snapshot() const { return snapshot_.has_value() ? &*snapshot_ : nullptr; }
  const LastCommit* Of(const std::string& site) const;
  int64_t RoundsCounted(const std::string& site) const;
  // Digest of the model at `version`; empty: there is none such.
  std::string ModelDigest(int64_t version) const;

  // Blobs that no record needs any more, since the last call.
  std::vector<BlobRef> TakeFreed();
  // That records need: published, snapshot, updates in hand, payloads of secure aggregation.
  bool Needs(const std::string& digest, const RoundMachine& machine) const;

 private:
  void Trim();

  // Kept beyond the snapshot, for sites that are a little behind.
  static constexpr size_t kLeast = 8;

  std::vector<PublishedVersion> versions_;
  std::map<int64_t, std::string> digests_;  // of all versions
  std::optional<SnapshotTaken> snapshot_;
  std::map<std::string, LastCommit> commits_;
  std::map<std::string, int64_t> rounds_counted_;
  std::set<std::string> secure_payloads_;
  std::string model_;
  std::vector<BlobRef> freed_;
};

}  // namespace ds::federated
