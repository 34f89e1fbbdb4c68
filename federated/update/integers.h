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

constexpr int kMostBits = 32;  // a value

// Bytes a value of `bits` bits takes unpacked: 1, 2 or 4.
constexpr int NaturalWidth(int bits) { return bits <= 8 ? 1 : bits <= 16 ? 2 : 4; }

// Values modulo 2^bits, each in its natural width, little-endian; the bits above are 0.
class IntegerVector {
 public:
  IntegerVector() : IntegerVector(1, 0) {}
  // Zeros. bits 1..32.
  IntegerVector(int bits, int64_t count);

  int bits() const { return bits_; }
  int64_t size() const { return count_; }
  int width() const { return width_; }  // bytes a value: 1, 2 or 4
  uint32_t mask() const { return 0xffffffffu >> (kMostBits - bits_); }
  // Whoever writes through it leaves the bits above bits() 0.
  absl::Span<std::byte> bytes() { return absl::MakeSpan(bytes_); }
  absl::Span<const std::byte> bytes() const { return bytes_; }
  uint32_t Get(int64_t index) const;
  void Set(int64_t index, uint32_t value);  // modulo 2^bits
  // The same values modulo 2^bits of another width (>= bits()).
  IntegerVector Widen(int bits) const;
  // this += other modulo 2^bits; sizes and bits equal.
  void Add(const IntegerVector& other);
  // this[first + i] += weight * value i of `packed`, modulo 2^bits(). `packed` holds `count` values
  // of `packed_bits` <= bits() as UnpackValues takes them.
  void AddPacked(absl::Span<const std::byte> packed, int packed_bits, int64_t first, int64_t count,
                 uint32_t weight);

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
// Values [first, first + count), as Pack writes them, into `out` of PackedSize(count, bits) bytes.
// Where `first` is a multiple of 8, that is a piece of Pack's bytes.
void PackValues(const IntegerVector& values, int64_t first, int64_t count,
                absl::Span<std::byte> out);
// DataLoss: wrong size, or bits set behind the last value.
absl::StatusOr<IntegerVector> Unpack(absl::Span<const std::byte> packed, int bits, int64_t count);
// A piece of a packed vector that starts at a value whose number is a multiple of 8:
// PackedSize(count, bits) bytes of `packed` become `count` values of NaturalWidth(bits) at `out`.
// Bits behind the last value are ignored.
void UnpackValues(absl::Span<const std::byte> packed, int bits, int64_t count, std::byte* out);
// DataLoss where `packed`, the last bytes of a packed vector of `count` values, has bits set behind
// its last value.
absl::Status CheckPackedEnd(absl::Span<const std::byte> packed, int bits, int64_t count);

}  // namespace ds::federated
