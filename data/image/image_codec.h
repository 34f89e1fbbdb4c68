// Decodes JPEG, PNG and WebP bytes to 8-bit gray or RGB. The bytes are not trusted: whatever the
// libraries find wrong becomes a Status, and a small file cannot ask for a huge picture.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset.h"
#include "data/file_bytes.h"

namespace ds {

struct DecodedImage {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  // height * width * channels, rows of interleaved pixels
};

struct DecodeOptions {
  int64_t channels = 3;  // 1: gray, 3: RGB; alpha is dropped, 16 bits become 8
  int64_t max_pixels =
      int64_t{1} << 26;  // height * width; a larger picture is refused before it is decoded
  // A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps this
  // many pixels; 0: always whole.
  int64_t min_side = 0;
};

// The format is told by the first bytes, not by a file's name. DataLoss for damaged or truncated
// pictures, InvalidArgument for other formats and pictures over the limit. `origin` names the file
// in errors.
absl::StatusOr<DecodedImage> DecodeImage(ByteSpan bytes, absl::string_view origin,
                                         const DecodeOptions& options);

// A part of a picture, in pixels; it may begin and end between two.
struct RealBox {
  double y = 0, x = 0, height = 0, width = 0;
};

// A picture of which the part `box` is wanted.
struct CroppedImage {
  DecodedImage image;
  RealBox box;
};

// Decodes at least what `choose` picks of a picture, from its size, to be resized to `height` x
// `width`. Of a JPEG only the lines and columns around it, at 1/2, 1/4 or 1/8 of the size where the
// part still has `height` x `width` pixels then: damage outside of what is decoded may stay unseen.
absl::StatusOr<CroppedImage> DecodeCrop(ByteSpan bytes, absl::string_view origin,
                                        const DecodeOptions& options, BoxChooser choose,
                                        int64_t height, int64_t width);

struct ImageSize {
  int64_t height = 0, width = 0;
};

// The size of the picture, from its header alone.
absl::StatusOr<ImageSize> ReadImageSize(ByteSpan bytes, absl::string_view origin);

namespace internal {

// DecodeImage for one format each. With `size_only` they stop behind the header, with no pixels.
absl::StatusOr<DecodedImage> DecodeJpeg(ByteSpan bytes, absl::string_view origin,
                                        const DecodeOptions& options, bool size_only);
absl::StatusOr<DecodedImage> DecodePng(ByteSpan bytes, absl::string_view origin,
                                       const DecodeOptions& options, bool size_only);

absl::StatusOr<DecodedImage> DecodeWebp(ByteSpan bytes, absl::string_view origin,
                                        const DecodeOptions& options, bool size_only);

absl::StatusOr<CroppedImage> DecodeJpegCrop(ByteSpan bytes, absl::string_view origin,
                                            const DecodeOptions& options, BoxChooser choose,
                                            int64_t height, int64_t width);

absl::Status DamagedImage(absl::string_view origin, absl::string_view format,
                          absl::string_view what);
// JPEG's own luma (ITU-R BT.601), in 1/1000.
inline uint8_t LumaOf(int red, int green, int blue) {
  return static_cast<uint8_t>((299 * red + 587 * green + 114 * blue + 500) / 1000);
}
RealBox ToRealBox(const PixelBox& box);
// Refuses a picture without pixels or with more than options.max_pixels.
absl::Status CheckImageSize(absl::string_view origin, int64_t height, int64_t width,
                            const DecodeOptions& options);

}  // namespace internal
}  // namespace ds
