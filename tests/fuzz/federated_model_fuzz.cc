// Any safetensors file as a saved model: an error, or a model that is saved as it was read.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/tensor/safetensors.h"
#include "federated/update/model_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  ds::StringMap metadata;
  const auto tensors = ds::ParseSafetensors(bytes, "fuzz.safetensors", nullptr, &metadata);
  if (!tensors.ok()) return 0;
  ds::federated::RunOptions options;
  options.strategy.name = "fedadam";
  const auto state = ds::federated::StateFrom(*tensors, metadata, options, "fuzz.safetensors");
  if (!state.ok()) {
    DS_CHECK(state.status().code() == absl::StatusCode::kDataLoss ||
             state.status().code() == absl::StatusCode::kFailedPrecondition ||
             state.status().code() == absl::StatusCode::kInvalidArgument)
        << state.status();
    return 0;
  }
  DS_CHECK(ds::federated::DigestOf(*state) == metadata["digest"]);
  return 0;
}
