// SecureHistory's inside: the run's rounds for which survivors were said, whoever's epoch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "federated/secure/secure_server.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/setup.h"
#include "federated/secure/setup/survivor_sets.h"

namespace ds::federated::secure {

struct SaidRound {
  int64_t epoch = 0;
  int64_t round = 0;
  std::string base_digest;
  Bytes32 survivors{};                 // hash
  std::vector<std::string> sites;      // sorted
  std::shared_ptr<const Setup> setup;  // of the epoch, for its signing keys; of the last round only
  std::set<std::string> answered;
  std::map<std::string, Signature> notes;
};

class History : public SecureHistory {
 public:
  const SaidRound* Last(int64_t before) const {
    const auto after = rounds_.lower_bound(before);
    return after == rounds_.begin() ? nullptr : &std::prev(after)->second;
  }
  SaidRound* Find(int64_t round) {
    const auto found = rounds_.find(round);
    return found == rounds_.end() ? nullptr : &found->second;
  }
  // Of another round than `round` that has answers.
  const SaidRound* OnModel(const std::string& base_digest, int64_t round) const;
  std::vector<SurvivorSet> Sets() const;
  void Add(SaidRound round);

 private:
  std::map<int64_t, SaidRound> rounds_;
};

}  // namespace ds::federated::secure
