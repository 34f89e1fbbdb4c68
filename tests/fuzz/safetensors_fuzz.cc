// Any bytes as a safetensors file: an error, or tensors that are written and read back as they are.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  ds::StringMap metadata;
  const auto tensors = ds::ParseSafetensors(bytes, "fuzz.safetensors", nullptr, &metadata);
  if (!tensors.ok()) {
    DS_CHECK(tensors.status().code() == absl::StatusCode::kDataLoss) << tensors.status();
    return 0;
  }
  const auto written = ds::SerializeSafetensors(*tensors, metadata);
  DS_CHECK(written.ok()) << written.status();
  ds::StringMap metadata_again;
  const auto again = ds::ParseSafetensors(*written, "again.safetensors", nullptr, &metadata_again);
  DS_CHECK(again.ok()) << again.status();
  DS_CHECK(metadata == metadata_again && tensors->size() == again->size());
  for (const auto& [name, tensor] : *tensors) {
    const ds::Tensor& other = again->at(name);
    DS_CHECK(tensor.dtype() == other.dtype() && tensor.shape() == other.shape()) << name;
    DS_CHECK(tensor.bytes() == other.bytes()) << name;
  }
  return 0;
}
