// How a camera was held when it took a picture (EXIF 2.32, tag 274), and the picture turned
// upright.
#pragma once

#include "data/file_bytes.h"
#include "data/image/image_codec.h"

namespace ds {

// 1..8 of a JPEG's EXIF part; 1, upright, where there is none, it is damaged, or the format is
// another.
int ExifOrientation(ByteSpan bytes);

// The picture as it is meant to be seen. Orientations 5 to 8 swap height and width.
DecodedImage Upright(DecodedImage image, int orientation);

}  // namespace ds
