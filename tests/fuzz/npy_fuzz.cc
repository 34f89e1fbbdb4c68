// Any bytes as a .npy file: an error, or an array whose bytes are as many as its shape says.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "data/arrays/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto array = ds::ParseNpy({reinterpret_cast<const std::byte*>(data), size}, "fuzz.npy");
  if (!array.ok()) {
    DS_CHECK(!array.status().message().empty());
    return 0;
  }
  const auto count = ds::NumElements(array->shape);
  DS_CHECK(count.ok());
  DS_CHECK(ds::ByteSize(array->dtype, *count) == static_cast<int64_t>(array->bytes.size()));
  return 0;
}
