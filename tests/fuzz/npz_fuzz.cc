// Any bytes as a .npz file: an error, or arrays of distinct names, all of whose bytes can be read.
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>

#include "base/check.h"
#include "data/arrays/zip.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kMaxInflated = 1 << 16;
  const auto arrays = ds::ParseNpz({reinterpret_cast<const std::byte*>(data), size}, "fuzz.npz",
                                   /*owner=*/nullptr, kMaxInflated);
  if (!arrays.ok()) {
    DS_CHECK(!arrays.status().message().empty());
    return 0;
  }
  std::set<std::string> names;
  unsigned sum = 0;
  for (const ds::StoredArray& array : *arrays) {
    DS_CHECK(names.insert(array.name).second);
    for (const std::byte byte : array.bytes) sum += std::to_integer<unsigned>(byte);
  }
  DS_CHECK(sum < ~0u);
  return 0;
}
