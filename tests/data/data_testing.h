// Makes data files of every format for the tests: small, right, and easy to damage.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/support/temp_folder.h"

namespace ds::testing {

using Bytes = std::vector<uint8_t>;

// With data files, which are bytes.
class TempFolder : public ds::TempFolder {
 public:
  using ds::TempFolder::Write;
  std::string Write(const std::string& name, const Bytes& bytes) const {
    return Write(name,
                 absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
};

Bytes Gzip(const Bytes& bytes);

// Pixel i is i * 7 modulo 256; label i is i modulo 10.
Bytes IdxImageFile(uint32_t count, uint32_t height, uint32_t width);
Bytes IdxLabelFile(uint32_t count);
// Record i: coarse label (100 classes only) i modulo 20, label i modulo `classes`, pixel p is i + p
// modulo 256.
Bytes CifarFile(int records, int classes);

// `pixels`: height * width * channels, interleaved; channels 1 (gray), 3 (RGB) or 4 (RGBA).
Bytes EncodePng(const Bytes& pixels, int height, int width, int channels);
// 16-bit gray, big-endian samples of value i * 257 for i = 0, 1, ...
Bytes EncodePng16(int height, int width);
// Two-colour palette: pixel i is red where i is even, blue where odd.
Bytes EncodePngPalette(int height, int width);
// channels 1, 3, or 4 (CMYK as Adobe stores it, 255 is no ink).
Bytes EncodeJpeg(const Bytes& pixels, int height, int width, int channels,
                 bool progressive = false);

}  // namespace ds::testing
