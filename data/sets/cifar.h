// The binary format of CIFAR-10 and CIFAR-100, from bytes: records of one label byte (CIFAR-100: a
// coarse, then a fine one) and 3 x 32 x 32 pixel bytes, planes red, green, blue. Format, byte by
// byte: docs/data.md.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/file_bytes.h"

namespace ds {

inline constexpr int64_t kCifarSide = 32;
inline constexpr int64_t kCifarPixels = 3 * kCifarSide * kCifarSide;

struct CifarRecords {
  std::vector<uint8_t> pixels;  // labels.size() * kCifarPixels
  std::vector<uint8_t> labels;  // the fine ones
};

// Appends the records of one file. `classes` is 10 or 100. DataLoss for a file that is no whole
// number of records, or a label out of range, with the byte offset; `records` is then unchanged.
absl::Status ParseCifar(ByteSpan bytes, absl::string_view origin, int classes,
                        CifarRecords* records);

}  // namespace ds
