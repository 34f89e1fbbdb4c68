// An update as integers: what is summed, masked, combined and packed. A value takes the least of
// 1, 2 or 4 bytes that holds `bits`; packed for the wire it takes exactly `bits`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ds::federated {

// Values modulo 2^bits, each in its natural width, little-endian; the bits above are 0.
class IntegerVector {
 public:
  // bits 1..32.
  IntegerVector(int bits, int64_t count);

  int bits() const { return bits_; }
  int64_t size() const { return count_; }
  int width() const { return width_; }  // bytes a value: 1, 2 or 4
  absl::Span<std::byte> bytes() { return absl::MakeSpan(bytes_); }
  absl::Span<const std::byte> bytes() const { return bytes_; }
  uint32_t Get(int64_t index) const;
  void Set(int64_t index, uint32_t value);  // modulo 2^bits
  // The same values modulo 2^bits of another width (>= bits()).
  IntegerVector Widen(int bits) const;
  // this += other modulo 2^bits; sizes and bits equal.
  void Add(const IntegerVector& other);

 private:
  int bits_;
  int width_;
  int64_t count_;
  std::vector<std::byte> bytes_;
};

// ⌈count · bits / 8⌉ bytes.
int64_t PackedSize(int64_t count, int bits);
// Value i takes the bits [i·bits, (i+1)·bits) of the stream, least significant first; the last
// byte is filled with 0.
std::vector<std::byte> Pack(const IntegerVector& values);
// DataLoss: wrong size, or bits set behind the last value.
absl::StatusOr<IntegerVector> Unpack(absl::Span<const std::byte> packed, int bits, int64_t count);
// `packed` holds values [first, first + count), `first` a multiple of 8, for blocks of a large
// file.

}  // namespace ds::federated
