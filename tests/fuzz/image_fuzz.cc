// Any bytes as a JPEG, PNG or WebP picture: an error, or a picture of the size it says that can be
// turned and resized, whole and in part.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "data/image/exif.h"
#include "data/image/image_codec.h"
#include "data/image/image_resize.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int64_t kSide = 8;
  for (int64_t channels : {1, 3}) {
    ds::DecodeOptions options;
    options.channels = channels;
    options.max_pixels = 1 << 18;  // so that a run tries many pictures, not one huge one
    options.min_side = channels == 1 ? kSide : 0;
    const auto image = ds::DecodeImage({data, size}, "fuzz.png", options);
    if (!image.ok()) {
      DS_CHECK(!image.status().message().empty());
      continue;
    }
    DS_CHECK(static_cast<int64_t>(image->pixels.size()) == image->height * image->width * channels);
    std::vector<uint8_t> planes(channels * kSide * kSide);
    ds::ResizeAndCrop(*image, kSide, absl::MakeSpan(planes));
    const ds::DecodedImage upright = ds::Upright(*image, ds::ExifOrientation({data, size}));
    DS_CHECK(upright.pixels.size() == image->pixels.size());
    const auto middle = [](int64_t height, int64_t width) {
      return ds::PixelBox{height / 3, width / 3, height - 2 * (height / 3),
                          width - 2 * (width / 3)};
    };
    const auto part = ds::DecodeCrop({data, size}, "fuzz.png", options, middle, kSide, kSide);
    if (part.ok()) ds::ResizeBox(part->image, part->box, kSide, kSide, absl::MakeSpan(planes));
  }
  return 0;
}
