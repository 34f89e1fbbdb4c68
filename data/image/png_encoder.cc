#include "data/image/png_encoder.h"

#include <png.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ds {

absl::StatusOr<std::string> EncodePng(const DecodedImage& image) {
  DS_CHECK(image.channels == 1 || image.channels == 3) << image.channels;
  png_image header = {};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = image.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  // Once for its length, once for its bytes.
  png_alloc_size_t size = 0;
  std::string bytes;
  for (const bool write : {false, true}) {
    bytes.resize(size);
    if (png_image_write_to_memory(&header, write ? bytes.data() : nullptr, &size, 0,
                                  image.pixels.data(), 0, nullptr) == 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("libpng cannot write the picture: ", header.message));
    }
  }
  return bytes;
}

}  // namespace ds
