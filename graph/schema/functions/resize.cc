// Resize in all its modes. The attributes are checked here once; executor/functions/resize.cc
// computes.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

absl::Status CheckModes(const Node& node) {
  DS_RETURN_IF_ERROR(CheckChoice(node, "mode", "nearest", {"nearest", "linear", "cubic"}));
  DS_RETURN_IF_ERROR(
      CheckChoice(node, "coordinate_transformation_mode", "half_pixel",
                  {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
                   "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"}));
  DS_RETURN_IF_ERROR(CheckChoice(node, "nearest_mode", "round_prefer_floor",
                                 {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  return CheckChoice(node, "keep_aspect_ratio_policy", "stretch",
                     {"stretch", "not_larger", "not_smaller"});
}

// The axes that scales, sizes and roi are about; all of them by default.
absl::StatusOr<std::vector<int64_t>> ResizedAxes(const Node& node, size_t rank) {
  std::vector<int64_t> axes = node.GetInts("axes", {});
  if (!axes.empty()) return NormalizeAxes(std::move(axes), static_cast<int64_t>(rank));
  for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  return axes;
}

// Under a policy all axes get one scale: the smallest, or the largest, that the sizes ask for.
absl::Status KeepAspect(const Shape& input, const std::vector<int64_t>& axes, bool larger,
                        Shape& out) {
  double scale = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (IsDynamic(input[axes[i]]) || IsDynamic(out[axes[i]])) {
      for (const int64_t axis : axes) out[axis] = kDynamicDim;
      return absl::OkStatus();
    }
    if (input[axes[i]] == 0) return absl::InvalidArgumentError("an axis has no elements to resize");
    const double wanted = static_cast<double>(out[axes[i]]) / static_cast<double>(input[axes[i]]);
    scale = i == 0 ? wanted : larger ? std::max(scale, wanted) : std::min(scale, wanted);
  }
  for (const int64_t axis : axes) {
    const double size = std::floor(static_cast<double>(input[axis]) * scale + 0.5);
    if (size > 1e12) {
      return absl::InvalidArgumentError(
          absl::StrCat("axis ", axis, " would get ", size, " elements; check sizes"));
    }
    out[axis] = static_cast<int64_t>(size);
  }
  return absl::OkStatus();
}

Inferred ResizeToSizes(const InferenceContext& context, const Shape& input) {
  DS_ASSIGN_OR_RETURN(const auto axes, ResizedAxes(context.node, input.size()));
  const auto sizes = PartlyKnown(context, 3);
  if (!sizes || sizes->size() != axes.size()) {
    return absl::InvalidArgumentError("sizes (input 3) must have one number for each axis");
  }
  Shape out = input;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t size = (*sizes)[i];
    const int64_t axis = axes[i];
    if (size >= kFirstKnownInt && size < 1) {
      return absl::InvalidArgumentError(absl::StrCat("sizes holds ", size, "; at least 1"));
    }
    // An unknown size of the batch or the channels is the input's own: those are not resized.
    if (size >= kFirstKnownInt) {
      out[axis] = size;
    } else if (axis >= 2 || input.size() < 3) {
      out[axis] = kDynamicDim;
    }
  }
  const std::string policy = context.node.GetString("keep_aspect_ratio_policy", "stretch");
  if (policy != "stretch") {
    DS_RETURN_IF_ERROR(KeepAspect(input, axes, policy == "not_smaller", out));
  }
  return One(context.InputDType(0), std::move(out));
}

// Beginnings, then ends, of each axis as fractions of it; empty where they are not known.
absl::StatusOr<std::vector<float>> Region(const InferenceContext& context, size_t axes) {
  if (context.node.GetString("coordinate_transformation_mode", "") != "tf_crop_and_resize") {
    return std::vector<float>();
  }
  if (!context.HasInput(1)) {
    return absl::InvalidArgumentError("tf_crop_and_resize needs roi (input 1); connect it");
  }
  const Tensor* roi = ConstantInput(context, 1);
  if (roi == nullptr || roi->dtype() != DType::kFloat32) return std::vector<float>();
  if (roi->num_elements() != static_cast<int64_t>(2 * axes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("roi has ", roi->num_elements(), " numbers for ", axes, " axes; two an axis"));
  }
  return std::vector<float>(roi->span<float>().begin(), roi->span<float>().end());
}

Inferred InferResize(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(CheckModes(context.node));
  DS_ASSIGN_OR_RETURN(const Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const auto axes, ResizedAxes(context.node, input.size()));
  DS_ASSIGN_OR_RETURN(const std::vector<float> region, Region(context, axes.size()));
  if (context.HasInput(3)) return ResizeToSizes(context, input);
  if (!context.HasInput(2)) return absl::InvalidArgumentError("neither scales nor sizes are given");
  Shape out = input;
  const Tensor* scales = ConstantInput(context, 2);
  const bool crops =
      context.node.GetString("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  if (scales == nullptr || (crops && region.empty())) {
    for (const int64_t axis : axes) out[axis] = kDynamicDim;
    return One(context.InputDType(0), std::move(out));
  }
  if (scales->dtype() != DType::kFloat32 ||
      scales->num_elements() != static_cast<int64_t>(axes.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "scales (input 2) has ", scales->num_elements(), " elements of ",
        std::string(Name(scales->dtype())), " for ", axes.size(), " axes; one float32 an axis"));
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const float scale = scales->span<float>()[i];
    if (!(scale > 0.0f) || scale > 65536.0f) {
      return absl::InvalidArgumentError(absl::StrCat("a scale is ", scale, ", not in (0, 65536]"));
    }
    int64_t& extent = out[axes[i]];
    if (IsDynamic(extent)) continue;
    const float part = region.empty() ? 1.0f : region[axes.size() + i] - region[i];
    const float size = std::floor(static_cast<float>(extent) * part * scale);
    if (!(size >= 0.0f) || size > 1e12f) {
      return absl::InvalidArgumentError(
          absl::StrCat("axis ", axes[i], " would get ", size, " elements; check roi and scales"));
    }
    extent = static_cast<int64_t>(size);
  }
  return One(context.InputDType(0), std::move(out));
}

}  // namespace

void AddResize(Table& table) {
  table.push_back(Op("Resize", 1, 4,
                     {Int("antialias"), Ints("axes"), String("coordinate_transformation_mode"),
                      Float("cubic_coeff_a"), Int("exclude_outside"), Float("extrapolation_value"),
                      String("keep_aspect_ratio_policy"), String("mode"), String("nearest_mode")},
                     InferResize));
}

}  // namespace ds::schema
