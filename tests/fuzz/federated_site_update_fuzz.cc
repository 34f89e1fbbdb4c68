// Any bytes as a site's stored update: DataLoss that says something, or an update that is written
// as the same bytes again; never a crash.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "federated/agent/site_updates.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<ds::federated::SiteUpdate> update = ds::federated::SiteUpdate::Decode(bytes);
  if (!update.ok()) {
    DS_CHECK(absl::IsDataLoss(update.status())) << update.status();
    DS_CHECK(!update.status().message().empty());
    return 0;
  }
  DS_CHECK(update->Encode() == bytes);
  return 0;
}
