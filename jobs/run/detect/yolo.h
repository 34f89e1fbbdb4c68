// What a YOLO network says, as boxes. Three forms of outputs, all of batch 1:
//
//   kYolov5       [1, N, 5 + C]: centre x, y, width, height in pixels of the input, objectness,
//                 scores of C classes, all of them in [0, 1]: the file that YOLOv5 exports, its
//                 decode in the graph. Further outputs are not looked at.
//   kYolov5Heads  one output a stride, [1, A, H, W, 5 + C] or [1, A * (5 + C), H, W]: the same
//                 before the decode, which is done here (sigmoids, grid, anchors; YOLOv5 from 6.0)
//   kYolov8       [1, 4 + C, N]: centre x, y, width, height, scores of C classes; no objectness
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/image/image_codec.h"
#include "jobs/run/detect/box.h"

namespace ds {

enum class YoloForm { kAuto, kYolov5, kYolov5Heads, kYolov8 };

struct YoloOptions {
  YoloForm form = YoloForm::kAuto;  // kAuto: by the outputs' dims
  float least_score = 0.25F;        // objectness times class score; boxes not above it are dropped
  // Widths and heights in pixels of the input, those of the finest grid first. Empty: YOLOv5's own
  // for three grids of three (trained on COCO).
  std::vector<std::vector<float>> anchors;
};

struct YoloOutput {
  std::vector<int64_t> dims;
  absl::Span<const float> values;
};

// Boxes in pixels of the input, each with its best class; in the order of the network's cells.
// InvalidArgument where the outputs are of no form, or of another than was asked for.
absl::StatusOr<std::vector<Box>> DecodeYolo(absl::Span<const YoloOutput> outputs,
                                            const ImageSize& input, const YoloOptions& options);

// "10,13,16,30,33,23;30,61,..." as YoloOptions::anchors: grids apart by ';', pairs of numbers.
absl::StatusOr<std::vector<std::vector<float>>> ParseAnchors(absl::string_view text);

}  // namespace ds
