// SHA-256 (FIPS 180-4), for checksums of files and parameters; own code so that the edge side needs
// no OpenSSL.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds {

class Sha256 {
 public:
  void Update(absl::Span<const std::byte> bytes);
  void Update(absl::string_view text) {
    Update(
        absl::Span<const std::byte>(reinterpret_cast<const std::byte*>(text.data()), text.size()));
  }
  // 64 lower-case hexadecimal digits of everything so far. Ends the object's use.
  std::string Hex();

 private:
  void Block(const std::byte* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                    0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
  std::array<std::byte, 64> buffer_ = {};
  size_t buffered_ = 0;
  uint64_t total_ = 0;  // bytes
};

std::string Sha256Hex(absl::string_view bytes);

}  // namespace ds
