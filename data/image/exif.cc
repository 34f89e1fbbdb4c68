#include "data/image/exif.h"

#include <algorithm>
#include <utility>

namespace ds {
namespace {

constexpr size_t kEntryBytes = 12;
constexpr unsigned kOrientationTag = 0x0112, kShort = 3;

// Numbers in a TIFF's byte order; beyond the end they are 0.
class Tiff {
 public:
  explicit Tiff(ByteSpan bytes) : bytes_(bytes), little_(Byte(0) == 'I') {}
  unsigned Byte(size_t at) const { return at < bytes_.size() ? bytes_[at] : 0; }
  unsigned Short(size_t at) const {
    return little_ ? Byte(at) | Byte(at + 1) << 8 : Byte(at) << 8 | Byte(at + 1);
  }
  size_t Word(size_t at) const {
    return little_ ? Short(at) | static_cast<size_t>(Short(at + 2)) << 16
                   : static_cast<size_t>(Short(at)) << 16 | Short(at + 2);
  }

 private:
  ByteSpan bytes_;
  bool little_;
};

int OrientationOf(ByteSpan bytes) {
  const Tiff tiff(bytes);
  if (tiff.Byte(0) != tiff.Byte(1) || (tiff.Byte(0) != 'I' && tiff.Byte(0) != 'M')) return 1;
  if (tiff.Short(2) != 42) return 1;
  const size_t directory = tiff.Word(4);
  if (directory > bytes.size()) return 1;
  for (size_t i = 0; i < tiff.Short(directory); ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (entry + kEntryBytes > bytes.size()) return 1;
    if (tiff.Short(entry) != kOrientationTag || tiff.Short(entry + 2) != kShort) continue;
    const unsigned value = tiff.Short(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace

int ExifOrientation(ByteSpan bytes) {
  constexpr uint8_t kExif[] = {'E', 'x', 'i', 'f', 0, 0};
  constexpr uint8_t kApp1 = 0xe1, kStartOfScan = 0xda;
  if (bytes.size() < 4 || bytes[0] != 0xff || bytes[1] != 0xd8) return 1;
  // Segments: 0xff, a marker, a length that counts itself.
  for (size_t at = 2; at + 4 <= bytes.size() && bytes[at] == 0xff;) {
    const uint8_t marker = bytes[at + 1];
    const size_t length = static_cast<size_t>(bytes[at + 2]) << 8 | bytes[at + 3];
    if (marker == kStartOfScan || length < 2 || length > bytes.size() - at - 2) return 1;
    const ByteSpan body = bytes.subspan(at + 4, length - 2);
    if (marker == kApp1 && body.size() > sizeof(kExif) &&
        std::equal(std::begin(kExif), std::end(kExif), body.begin())) {
      return OrientationOf(body.subspan(sizeof(kExif)));
    }
    at += 2 + length;
  }
  return 1;
}

DecodedImage Upright(DecodedImage image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool swapped = orientation >= 5;
  DecodedImage out{swapped ? image.width : image.height, swapped ? image.height : image.width,
                   image.channels, std::vector<uint8_t>(image.pixels.size())};
  // Which way the picture's rows and columns run when read in the order of the result.
  const bool down = orientation == 1 || orientation == 2 || orientation == 5 || orientation == 8;
  const bool right = orientation == 1 || orientation == 4 || orientation == 5 || orientation == 6;
  uint8_t* to = out.pixels.data();
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      const int64_t row = swapped ? x : y, column = swapped ? y : x;
      const int64_t from_y = down ? row : image.height - 1 - row;
      const int64_t from_x = right ? column : image.width - 1 - column;
      const uint8_t* from = image.pixels.data() + (from_y * image.width + from_x) * image.channels;
      to = std::copy_n(from, image.channels, to);
    }
  }
  return out;
}

}  // namespace ds
