// CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4): the checksum of TFRecord files and of
// anything that needs a short guard against flipped bits. Against an adversary use
// base/hash/sha256.h. Our own because zlib has another polynomial and Debian 12's Abseil none; it
// sees a few kB a run.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace ds {

// Of `bytes`, continuing after data whose checksum was `previous` (0 for a start).
uint32_t Crc32c(absl::string_view bytes, uint32_t previous = 0);

// TFRecord stores a checksum rotated and offset, because a CRC over data that holds CRCs says
// little.
uint32_t MaskCrc32c(uint32_t crc);

}  // namespace ds
