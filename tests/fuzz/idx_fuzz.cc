// Any bytes as an IDX file: an error, or as many elements as the header says; never a crash or a
// hang.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "data/sets/idx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto images = ds::ParseIdxImages({data, size}, "fuzz.idx");
  if (images.ok()) {
    DS_CHECK(static_cast<int64_t>(images->pixels.size()) ==
             images->count * images->height * images->width);
  } else {
    DS_CHECK(!images.status().message().empty());
  }
  const auto labels = ds::ParseIdxLabels({data, size}, "fuzz.idx");
  DS_CHECK(!(images.ok() && labels.ok())) << "a file is either images or labels";
  return 0;
}
