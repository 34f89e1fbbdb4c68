// Any bytes as a CIFAR file: an error that leaves the records alone, or whole records with labels
// in range.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "data/sets/cifar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (int classes : {10, 100}) {
    ds::CifarRecords records;
    const absl::Status status = ds::ParseCifar({data, size}, "fuzz.bin", classes, &records);
    DS_CHECK(status.ok() != records.labels.empty()) << status;
    DS_CHECK(static_cast<int64_t>(records.pixels.size()) ==
             static_cast<int64_t>(records.labels.size()) * ds::kCifarPixels);
    for (uint8_t label : records.labels) DS_CHECK(label < classes);
  }
  return 0;
}
