// What a site has done in one round, as its vault keeps it: it decides what is never done again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/secure/crypto/crypto.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated::secure {

struct RoundRecord {
  SecureRound round;
  Bytes32 transcript{};

  bool masked = false;
  std::string packed;  // the masked values, packed; empty once the round is answered or old

  bool echoed = false;
  bool answered = false;
  Bytes32 survivors{};             // hash; where echoed or answered
  std::vector<std::string> sites;  // that survived, sorted; where answered
  std::string answer;              // the payload; where answered

  std::string Encode() const;
};
absl::StatusOr<RoundRecord> DecodeRoundRecord(absl::string_view bytes);

}  // namespace ds::federated::secure
