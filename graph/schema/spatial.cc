// Operators on images: Resize and Pad.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

absl::Status CheckResizeModes(const Node& node) {
  const std::string mode = node.GetString("mode", "nearest");
  if (mode != "nearest" && mode != "linear") {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'mode' is '", mode, "'; supported are nearest and linear"));
  }
  const std::string coordinates = node.GetString("coordinate_transformation_mode", "half_pixel");
  for (const char* known : {"half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"}) {
    if (coordinates == known) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "attribute 'coordinate_transformation_mode' is '", coordinates,
      "'; supported are half_pixel, pytorch_half_pixel, align_corners and asymmetric"));
}

Inferred ResizeToSizes(const InferenceContext& context, Shape shape) {
  const auto sizes = PartlyKnown(context, 3);
  if (!sizes || sizes->size() != shape.size()) {
    return absl::InvalidArgumentError("sizes (input 3) must have one number for each axis");
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    const int64_t size = (*sizes)[i];
    if (size >= kFirstKnownInt && size < 1) {
      return absl::InvalidArgumentError(absl::StrCat("sizes holds ", size, "; at least 1"));
    }
    // An unknown size of the batch or the channels is the input's own: those are not resized.
    if (size >= kFirstKnownInt)
      shape[i] = size;
    else if (i >= 2)
      shape[i] = kDynamicDim;
  }
  return One(context.InputDType(0), std::move(shape));
}

Inferred InferResize(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(CheckResizeModes(context.node));
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  if (context.HasInput(3)) return ResizeToSizes(context, std::move(shape));
  if (!context.HasInput(2)) return absl::InvalidArgumentError("neither scales nor sizes are given");
  const Tensor* scales = ConstantInput(context, 2);
  if (scales == nullptr || scales->dtype() != DType::kFloat32) {
    return absl::FailedPreconditionError(
        "scales (input 2) must be a float32 constant; export the model with a fixed image size");
  }
  if (scales->num_elements() != static_cast<int64_t>(shape.size())) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", scales->num_elements(),
                                                   " scales for a tensor of rank ", shape.size()));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    const float scale = scales->span<float>()[i];
    if (!(scale > 0.0f) || scale > 65536.0f) {
      return absl::InvalidArgumentError(absl::StrCat("a scale is ", scale, ", not in (0, 65536]"));
    }
    if (!IsDynamic(shape[i])) {
      shape[i] = static_cast<int64_t>(std::floor(static_cast<float>(shape[i]) * scale));
    }
  }
  return One(context.InputDType(0), std::move(shape));
}

Inferred InferPad(const InferenceContext& context) {
  const std::string mode = context.node.GetString("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge") {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'mode' is '", mode, "'; supported are constant, reflect and edge"));
  }
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> pads, FullyKnown(context, 1, "pads"));
  const size_t rank = shape.size();
  if (pads.size() != 2 * rank) {
    return absl::InvalidArgumentError(absl::StrCat("pads has ", pads.size(),
                                                   " numbers for a tensor of rank ", rank,
                                                   "; it needs two an axis, all beginnings first"));
  }
  for (size_t i = 0; i < rank; ++i) {
    const int64_t begin = pads[i];
    const int64_t end = pads[i + rank];
    if (std::max(std::abs(begin), std::abs(end)) > (int64_t{1} << 31)) {
      return absl::InvalidArgumentError(absl::StrCat("pads of axis ", i, " are out of range"));
    }
    if (IsDynamic(shape[i])) continue;
    if (mode == "reflect" && std::max(begin, end) >= shape[i]) {
      return absl::InvalidArgumentError(
          absl::StrCat("reflection needs pads below the extent ", shape[i], " of axis ", i));
    }
    shape[i] += begin + end;
    if (shape[i] < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("pads of axis ", i, " leave the extent ", shape[i], "; cut less"));
    }
  }
  return One(context.InputDType(0), std::move(shape));
}

}  // namespace

void AddSpatial(Table& table) {
  table.push_back(
      Op("Resize", 1, 4,
         {String("coordinate_transformation_mode"), Float("cubic_coeff_a"), Int("exclude_outside"),
          Float("extrapolation_value"), String("mode"), String("nearest_mode")},
         InferResize));
  table.push_back(Op("Pad", 2, 3, {String("mode")}, InferPad));
}

}  // namespace ds::schema
