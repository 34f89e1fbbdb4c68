// Brings a decoded picture to the network's size: the shorter side resized, then the centre cut
// out.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "data/image/image_codec.h"

namespace ds {

// Writes `side` x `side` pixels as planes [C, side, side]. Bilinear with antialiasing (a triangle
// filter that widens with the reduction), in fixed point: the same bytes on every machine. `planes`
// has C * side * side elements.
void ResizeAndCrop(const DecodedImage& image, int64_t side, absl::Span<uint8_t> planes);

// The part of the picture as [C, height, width] planes, by the same filter; what lies outside the
// part is not looked at, as if it had been cut out first.
void ResizeBox(const DecodedImage& image, const RealBox& box, int64_t height, int64_t width,
               absl::Span<uint8_t> planes);

// Planes to interleaved rows, and back; size unchanged.
DecodedImage FromPlanes(absl::Span<const uint8_t> planes, int64_t channels, int64_t height,
                        int64_t width);
// Interleaved rows to planes, size unchanged.
void ToPlanes(const DecodedImage& image, absl::Span<uint8_t> planes);

}  // namespace ds
