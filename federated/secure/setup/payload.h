// Bytes of the messages and vault entries of secure aggregation: little-endian numbers, byte
// strings with their length before them. The reader distrusts every byte: what is cut short, too
// long, out of range or left over is DataLoss, and nothing is allocated beyond what is there.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "federated/secure/crypto/crypto.h"

namespace ds::federated::secure {

class PayloadWriter {
 public:
  void U8(uint8_t value) { Number(value, 1); }
  void U32(uint32_t value) { Number(value, 4); }
  void I64(int64_t value) { Number(static_cast<uint64_t>(value), 8); }
  void Raw(absl::string_view bytes) { bytes_.append(bytes.data(), bytes.size()); }
  template <size_t N>
  void Fixed(const std::array<uint8_t, N>& bytes) {
    Raw(absl::string_view(reinterpret_cast<const char*>(bytes.data()), N));
  }
  void Fixed(const Secret& secret) { Fixed(secret.bytes()); }
  void String(absl::string_view bytes) {
    U32(static_cast<uint32_t>(bytes.size()));
    Raw(bytes);
  }
  // As ⌈bits / 8⌉ bytes, bit i in byte i / 8, the last byte filled with 0.
  void Bits(const std::vector<bool>& bits);
  // For so many bytes that follow: they are copied once.
  void Reserve(size_t size) { bytes_.reserve(bytes_.size() + size); }
  const std::string& bytes() const { return bytes_; }
  std::string Take() { return std::move(bytes_); }

 private:
  void Number(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<char>(value >> (8 * i)));
  }

  std::string bytes_;
};

// After the first fault everything that is read is 0 or empty; Finish tells of it.
class PayloadReader {
 public:
  // `what` names the payload in errors.
  PayloadReader(absl::string_view bytes, std::string what) : rest_(bytes), what_(std::move(what)) {}

  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint32_t U32(uint32_t most);
  int64_t I64() { return static_cast<int64_t>(Number(8)); }
  int64_t NotNegative();
  absl::string_view Raw(size_t size);
  template <size_t N>
  void Fixed(std::array<uint8_t, N>& into) {
    const absl::string_view bytes = Raw(N);
    into.fill(0);
    for (size_t i = 0; i < bytes.size(); ++i) into[i] = static_cast<uint8_t>(bytes[i]);
  }
  void Fixed(Secret& into) { Fixed(into.bytes()); }
  std::string String(uint32_t most) { return std::string(Raw(U32(most))); }
  std::vector<bool> Bits(size_t count);
  // A count of items of at least `size` bytes each, which the rest must hold.
  uint32_t Count(uint32_t most, size_t size);
  void Fail(absl::string_view why);
  bool ok() const { return status_.ok(); }
  size_t left() const { return rest_.size(); }
  // The first fault, or bytes that are left over.
  absl::Status Finish();

 private:
  uint64_t Number(int size);

  absl::string_view rest_;
  std::string what_;
  absl::Status status_;
};

}  // namespace ds::federated::secure
