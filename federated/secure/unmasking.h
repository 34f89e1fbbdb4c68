// From sites' answers to a round's masks: which shares are good, whose secrets they give, and the
// masks that these make.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "federated/secure/crypto/mask.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/setup.h"

namespace ds::federated::secure {

// The owner's entry for a holder, both by position: entries are in the holders' order.
const SealedShares& EntryFor(const Setup& setup, const Shares& shares, int owner, int holder);

struct Unmasking {
  SecureRound round;
  Bytes32 transcript{};
  std::vector<bool> survivors;
  Bytes32 hash{};                              // of them
  std::vector<std::map<int, Bytes32>> shares;  // owner → holder → its good share
  std::map<int, std::string> answered;         // holder → its payload

  // Checks every share of the answer by its tag in what its owner gave (`owners`, by position);
  // InvalidArgument names what is wrong, and nothing counts.
  absl::Status Add(const Setup& setup, const std::vector<bool>& participants,
                   const std::map<int, Shares>& owners, int holder, absl::string_view payload);
  // Participants of whose secrets there are too few shares.
  std::vector<int> Missing(const Setup& setup, const std::vector<bool>& participants) const;
  // All participants' secrets of this round, by position: of survivors the seed, of others the
  // mask key. `broken` gets those whose shares give something else than they committed to.
  std::vector<Secret> Recover(const Setup& setup, const std::vector<bool>& participants,
                              std::vector<int>* broken) const;
};

// Takes all masks of the round out of `sum`.
absl::Status TakeMasks(const Setup& setup, const std::vector<bool>& participants,
                       const Unmasking& round, absl::Span<const Secret> secrets,
                       IntegerVector& sum);

}  // namespace ds::federated::secure
