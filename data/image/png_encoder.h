// Writes pictures as PNG.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "data/image/image_codec.h"

namespace ds {

// The file's bytes, of a gray or RGB picture of at least one pixel. ResourceExhausted where libpng
// has no memory.
absl::StatusOr<std::string> EncodePng(const DecodedImage& image);

}  // namespace ds
