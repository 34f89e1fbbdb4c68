#include <webp/decode.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/image/image_codec.h"

namespace ds::internal {
namespace {

const char* Reason(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "no memory to decode it";
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "it ends early";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "an unknown kind of WebP";
    default:
      return "its data cannot be decoded";
  }
}

}  // namespace

absl::StatusOr<DecodedImage> DecodeWebp(ByteSpan bytes, absl::string_view origin,
                                        const DecodeOptions& options, bool size_only) {
  WebPBitstreamFeatures features;
  const VP8StatusCode header = WebPGetFeatures(bytes.data(), bytes.size(), &features);
  if (header != VP8_STATUS_OK) return DamagedImage(origin, "WebP", Reason(header));
  if (features.has_animation != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": an animated WebP picture; save one frame of it, or remove it"));
  }
  DecodedImage image;
  image.height = features.height;
  image.width = features.width;
  DS_RETURN_IF_ERROR(CheckImageSize(origin, image.height, image.width, options));
  if (size_only) return image;
  std::vector<uint8_t> rgb(static_cast<size_t>(image.height * image.width * 3));
  if (WebPDecodeRGBInto(bytes.data(), bytes.size(), rgb.data(), rgb.size(),
                        static_cast<int>(image.width * 3)) == nullptr) {
    return DamagedImage(origin, "WebP", "its data cannot be decoded");
  }
  image.channels = options.channels;
  if (options.channels == 3) {
    image.pixels = std::move(rgb);
    return image;
  }
  image.pixels.resize(rgb.size() / 3);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = LumaOf(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);
  return image;
}

}  // namespace ds::internal
