// Any bytes as a configuration: an error or a config that prints back to itself; never a crash or a
// hang.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "jobs/config/train_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = ds::ParseTrainConfig(text, "fuzz.yaml", {});
  if (config.ok()) {
    const std::string printed = ds::PrintTrainConfig(*config);
    const auto again = ds::ParseTrainConfig(printed, "printed.yaml", {});
    DS_CHECK(again.ok()) << again.status() << "\n" << printed;
    DS_CHECK(ds::PrintTrainConfig(*again) == printed) << printed;
  } else {
    DS_CHECK(!config.status().message().empty());
  }
  // The same bytes as an override: its errors take another way.
  static_cast<void>(ds::ParseTrainConfig("model: {name: lenet}", "fuzz.yaml", {std::string(text)}));
  return 0;
}
