#include "data/image/image_codec.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr uint8_t kJpegStart[] = {0xff, 0xd8, 0xff};
constexpr uint8_t kPngStart[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr uint8_t kRiffStart[] = {'R', 'I', 'F', 'F'};
constexpr uint8_t kWebpMark[] = {'W', 'E', 'B', 'P'};  // behind a length of four bytes

template <size_t N>
bool StartsWith(ByteSpan bytes, const uint8_t (&start)[N]) {
  return bytes.size() >= N && std::equal(std::begin(start), std::end(start), bytes.begin());
}

bool IsWebp(ByteSpan bytes) {
  return bytes.size() >= 12 && StartsWith(bytes, kRiffStart) &&
         std::equal(std::begin(kWebpMark), std::end(kWebpMark), bytes.begin() + 8);
}

absl::StatusOr<DecodedImage> Decode(ByteSpan bytes, absl::string_view origin,
                                    const DecodeOptions& options, bool size_only) {
  if (options.channels != 1 && options.channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("pictures decode to 1 (gray) or 3 (RGB) channels, not ", options.channels));
  }
  if (StartsWith(bytes, kJpegStart)) {
    return internal::DecodeJpeg(bytes, origin, options, size_only);
  }
  if (StartsWith(bytes, kPngStart)) return internal::DecodePng(bytes, origin, options, size_only);
  if (IsWebp(bytes)) return internal::DecodeWebp(bytes, origin, options, size_only);
  if (bytes.empty()) return internal::DamagedImage(origin, "image", "the file is empty");
  return absl::InvalidArgumentError(
      absl::StrCat(origin,
                   ": no JPEG, PNG or WebP picture by its first bytes; convert or remove "
                   "the file"));
}

}  // namespace

absl::StatusOr<DecodedImage> DecodeImage(ByteSpan bytes, absl::string_view origin,
                                         const DecodeOptions& options) {
  return Decode(bytes, origin, options, /*size_only=*/false);
}

absl::StatusOr<CroppedImage> DecodeCrop(ByteSpan bytes, absl::string_view origin,
                                        const DecodeOptions& options, BoxChooser choose,
                                        int64_t height, int64_t width) {
  if (StartsWith(bytes, kJpegStart))
    return internal::DecodeJpegCrop(bytes, origin, options, choose, height, width);
  CroppedImage part;
  DS_ASSIGN_OR_RETURN(part.image, DecodeImage(bytes, origin, options));
  part.box = internal::ToRealBox(choose(part.image.height, part.image.width));
  return part;
}

absl::StatusOr<ImageSize> ReadImageSize(ByteSpan bytes, absl::string_view origin) {
  DS_ASSIGN_OR_RETURN(DecodedImage image, Decode(bytes, origin, {}, /*size_only=*/true));
  return ImageSize{image.height, image.width};
}

namespace internal {

absl::Status DamagedImage(absl::string_view origin, absl::string_view format,
                          absl::string_view what) {
  return absl::DataLossError(absl::StrCat(origin, ": damaged ", format, " file: ", what,
                                          "; get the file again or remove it"));
}

RealBox ToRealBox(const PixelBox& box) {
  return {static_cast<double>(box.y), static_cast<double>(box.x), static_cast<double>(box.height),
          static_cast<double>(box.width)};
}

absl::Status CheckImageSize(absl::string_view origin, int64_t height, int64_t width,
                            const DecodeOptions& options) {
  // Both formats keep their sides below 2^31, so the product cannot overflow.
  if (height > 0 && width > 0 && height * width <= options.max_pixels) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(origin, ": a picture of ", height, " x ", width,
                                                 " pixels is outside 1..", options.max_pixels,
                                                 " pixels; shrink or remove the file"));
}

}  // namespace internal
}  // namespace ds
