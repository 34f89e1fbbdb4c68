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

// Interleaved rows to planes, size unchanged.
void ToPlanes(const DecodedImage& image, absl::Span<uint8_t> planes);

}  // namespace ds
