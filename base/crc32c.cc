#include "base/crc32c.h"

#include <array>
#include <bit>

namespace ds {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78u;  // bits reversed
constexpr uint32_t kMaskDelta = 0xA282EAD8u;
constexpr int kMaskRotation = 15;

// The effect of one byte, eight shifts at once.
constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? kPolynomial : 0u);
    table[byte] = crc;
  }
  return table;
}

}  // namespace

uint32_t Crc32c(absl::string_view bytes, uint32_t previous) {
  static constexpr std::array<uint32_t, 256> kTable = MakeTable();
  uint32_t crc = ~previous;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(byte)) & 0xFFu];
  return ~crc;
}

uint32_t MaskCrc32c(uint32_t crc) { return std::rotr(crc, kMaskRotation) + kMaskDelta; }

}  // namespace ds
