#include "federated/secure/history.h"

namespace ds::federated {

std::shared_ptr<SecureHistory> SecureHistory::Create() {
  return std::make_shared<secure::History>();
}

namespace secure {

const SaidRound* History::OnModel(const std::string& base_digest, int64_t round) const {
  for (const auto& [number, said] : rounds_) {
    if (number != round && said.base_digest == base_digest && !said.answered.empty()) return &said;
  }
  return nullptr;
}

std::vector<SurvivorSet> History::Sets() const {
  std::vector<SurvivorSet> sets;
  for (const auto& [number, said] : rounds_) sets.push_back({.round = number, .sites = said.sites});
  return sets;
}

void History::Add(SaidRound round) {
  // Only the last round's notes are still asked for.
  for (auto& [number, said] : rounds_) {
    said.setup.reset();
    said.notes.clear();
  }
  const int64_t number = round.round;
  rounds_[number] = std::move(round);
}

}  // namespace secure
}  // namespace ds::federated
