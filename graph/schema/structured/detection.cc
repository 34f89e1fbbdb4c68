// Operators of object detectors: NonMaxSuppression and RoiAlign.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

constexpr int64_t kMaxPooled = 1 << 16;

Inferred InferNonMaxSuppression(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape boxes, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape scores, context.InputShape(1));
  const bool fit = boxes.size() == 3 && scores.size() == 3 && MayEqual(boxes[0], scores[0]) &&
                   MayEqual(boxes[1], scores[2]) && MayEqual(boxes[2], 4);
  if (!fit) {
    return absl::InvalidArgumentError(
        absl::StrCat("boxes ", ShapeString(boxes), " and scores ", ShapeString(scores),
                     " must be [batch, boxes, 4] and [batch, classes, boxes]"));
  }
  return One(DType::kInt64, {kDynamicDim, 3});
}

Inferred InferRoiAlign(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape x, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape rois, context.InputShape(1));
  DS_ASSIGN_OR_RETURN(const Shape batch, context.InputShape(2));
  const Node& node = context.node;
  if (x.size() != 4 || rois.size() != 2 || batch.size() != 1 || !MayEqual(rois[1], 4) ||
      !MayEqual(rois[0], batch[0])) {
    return absl::InvalidArgumentError(
        absl::StrCat("X ", ShapeString(x), ", rois ", ShapeString(rois), " and batch_indices ",
                     ShapeString(batch), " must be [N, C, H, W], [regions, 4] and [regions]"));
  }
  const std::string mode = node.GetString("mode", "avg");
  if (mode != "avg") {
    return absl::UnimplementedError(
        absl::StrCat("attribute 'mode' is '", mode, "'; only avg is supported"));
  }
  const std::string coordinates = node.GetString("coordinate_transformation_mode", "half_pixel");
  if (coordinates != "half_pixel" && coordinates != "output_half_pixel") {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'coordinate_transformation_mode' is '", coordinates,
                     "'; it must be half_pixel or output_half_pixel"));
  }
  const int64_t height = node.GetInt("output_height", 1);
  const int64_t width = node.GetInt("output_width", 1);
  const int64_t samples = node.GetInt("sampling_ratio", 0);
  for (const int64_t extent : {height, width, samples + 1}) {
    if (extent < 1 || extent > kMaxPooled) {
      return absl::InvalidArgumentError(absl::StrCat(
          "output_height, output_width or sampling_ratio is outside 1 to ", kMaxPooled));
    }
  }
  return One(context.InputDType(0), {rois[0], x[1], height, width});
}

}  // namespace

void AddDetection(Table& table) {
  table.push_back(Op("NonMaxSuppression", 2, 5, {Int("center_point_box")}, InferNonMaxSuppression));
  table.push_back(
      Op("RoiAlign", 3, 3,
         {String("coordinate_transformation_mode"), String("mode"), Int("output_height"),
          Int("output_width"), Int("sampling_ratio"), Float("spatial_scale")},
         InferRoiAlign));
}

}  // namespace ds::schema
