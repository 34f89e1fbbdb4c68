// Boxes drawn into a picture, each with its label above it.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/image/image_codec.h"
#include "jobs/run/detect/box.h"

namespace ds {

// Frames in a colour of the label, the caption's letters on a filled strip; line width and letters
// grow with the picture. What lies outside the picture is cut. `captions`: one a box, in ASCII
// (other characters are drawn as '?', small letters as capitals). The picture has three channels;
// corners are in its pixels.
void DrawBoxes(absl::Span<const Box> boxes, absl::Span<const std::string> captions,
               DecodedImage& picture);

}  // namespace ds
