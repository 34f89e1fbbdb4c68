// Any text as a charge's record: refused, or a charge that is itself again after its record.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "federated/privacy/ledger.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto charge = ds::federated::DecodeCharge(text);
  if (!charge.ok()) {
    DS_CHECK(charge.status().code() == absl::StatusCode::kInvalidArgument) << charge.status();
    return 0;
  }
  const std::string record = ds::federated::EncodeCharge(*charge);
  const auto again = ds::federated::DecodeCharge(record);
  DS_CHECK(again.ok() && ds::federated::EncodeCharge(*again) == record) << record;
  return 0;
}
