// The true boxes of a picture as YOLO's data sets have them.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/image/image_codec.h"
#include "jobs/run/detect/box.h"

namespace ds {

// A line a box: its class, then centre x, y, width and height as shares of the picture's, in [0,
// 1]; empty lines are left out. Corners in the picture's pixels. `origin` names the file in errors,
// which say the line.
absl::StatusOr<std::vector<Box>> ParseLabelFile(absl::string_view text, absl::string_view origin,
                                                const ImageSize& picture);

}  // namespace ds
