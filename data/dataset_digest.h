// What tells one data set from another of the same shape: ranks that read their own copies compare
// it before they train. A guard against mistakes, not against an adversary.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/dataset.h"

namespace ds {

// CRC-32 (zlib's) and the length of what is added, in its order. A single changed byte always
// changes it.
class DataChecksum {
 public:
  void Add(absl::Span<const uint8_t> bytes);
  void Add(absl::string_view text);
  void Add(int64_t number);
  // "1c291ca3-47040000".
  std::string Text() const;

 private:
  unsigned long crc_ = 0;
  int64_t bytes_ = 0;
};

// At most `most` of 0..size-1, evenly spread, the first and the last among them; ascending.
std::vector<int64_t> EvenlySpread(int64_t size, int64_t most);

}  // namespace ds
