// Any bytes as each message of secure aggregation and as a round in a site's vault: DataLoss, or
// what is encoded again to the same bytes.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/setup/messages.h"
#include "federated/secure/setup/setup.h"
#include "federated/secure/site/round_record.h"

namespace {

using ds::federated::secure::Setup;

template <typename T>
void Check(const absl::StatusOr<T>& decoded, absl::string_view bytes) {
  if (!decoded.ok()) {
    DS_CHECK(decoded.status().code() == absl::StatusCode::kDataLoss) << decoded.status();
    return;
  }
  DS_CHECK(decoded->Encode() == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace secure = ds::federated::secure;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  Check(secure::DecodeKeys(bytes), bytes);
  Check(secure::DecodeRoster(bytes), bytes);
  Check(secure::DecodeOpening(bytes), bytes);
  Check(secure::DecodeOpenings(bytes), bytes);
  Check(secure::DecodeShares(bytes), bytes);
  Check(secure::DecodeInbox(bytes), bytes);
  Check(secure::DecodeSurvivors(bytes), bytes);
  Check(secure::DecodeEcho(bytes), bytes);
  Check(secure::DecodeAnswer(bytes), bytes);
  Check(secure::DecodeNote(bytes), bytes);
  Check(secure::DecodeRoundRecord(bytes), bytes);
  for (const char* mode : {"on", "strict"}) {
    const auto asked = ds::federated::WhatIsAsked({.mode = mode}, bytes);
    DS_CHECK(asked.ok() || asked.status().code() == absl::StatusCode::kDataLoss) << asked.status();
  }
  const auto setup = Setup::FromRoster(bytes);
  DS_CHECK(setup.ok() || setup.status().code() == absl::StatusCode::kDataLoss) << setup.status();
  return 0;
}
