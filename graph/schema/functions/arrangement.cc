// Operators that rearrange, sample or count elements: DepthToSpace, GridSample, Trilu, OneHot ...
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

absl::StatusOr<Shape> Image(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  if (input.size() == 4) return input;
  return absl::InvalidArgumentError(
      absl::StrCat("the input ", ShapeString(input), " must be [N, C, H, W]"));
}

absl::StatusOr<int64_t> BlockSize(const InferenceContext& context) {
  constexpr int64_t kLargest = 1 << 10;
  const int64_t block = context.node.GetInt("blocksize", 0);
  if (block >= 1 && block <= kLargest) return block;
  return absl::InvalidArgumentError(
      absl::StrCat("attribute 'blocksize' is ", block, ", outside 1 to ", kLargest));
}

absl::StatusOr<int64_t> Divided(int64_t extent, int64_t by, absl::string_view what) {
  if (IsDynamic(extent)) return extent;
  if (extent % by == 0) return extent / by;
  return absl::InvalidArgumentError(
      absl::StrCat(what, " ", extent, " is no multiple of ", by, ", which 'blocksize' asks for"));
}

int64_t Times(int64_t extent, int64_t factor) {
  return IsDynamic(extent) ? extent : extent * factor;
}

Inferred InferDepthToSpace(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, Image(context));
  DS_ASSIGN_OR_RETURN(const int64_t block, BlockSize(context));
  DS_RETURN_IF_ERROR(CheckChoice(context.node, "mode", "DCR", {"DCR", "CRD"}));
  DS_ASSIGN_OR_RETURN(shape[1], Divided(shape[1], block * block, "the number of channels"));
  return One(context.InputDType(0),
             {shape[0], shape[1], Times(shape[2], block), Times(shape[3], block)});
}

Inferred InferSpaceToDepth(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, Image(context));
  DS_ASSIGN_OR_RETURN(const int64_t block, BlockSize(context));
  for (size_t i = 2; i < 4; ++i) {
    DS_ASSIGN_OR_RETURN(shape[i], Divided(shape[i], block, "the extent"));
  }
  return One(context.InputDType(0), {shape[0], Times(shape[1], block * block), shape[2], shape[3]});
}

Inferred InferGridSample(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape grid, context.InputShape(1));
  const size_t rank = input.size();
  DS_RETURN_IF_ERROR(CheckChoice(context.node, "mode", "linear", {"linear", "nearest", "cubic"}));
  DS_RETURN_IF_ERROR(
      CheckChoice(context.node, "padding_mode", "zeros", {"zeros", "border", "reflection"}));
  if ((rank != 4 && rank != 5) || grid.size() != rank ||
      !MayEqual(grid.back(), static_cast<int64_t>(rank) - 2) || !MayEqual(grid[0], input[0])) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the input ", ShapeString(input), " and the grid ", ShapeString(grid),
        " must be [N, C, H, W] and [N, h, w, 2], or [N, C, D, H, W] and [N, d, h, w, 3]"));
  }
  if (rank == 5 && context.node.GetString("mode", "linear") == "cubic") {
    return absl::InvalidArgumentError("attribute 'mode' cubic is supported for images only");
  }
  Shape out = {input[0], input[1]};
  out.insert(out.end(), grid.begin() + 1, grid.end() - 1);
  return One(context.InputDType(0), std::move(out));
}

Inferred InferTrilu(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(0));
  if (shape.size() >= 2) return SameAsInput(context);
  return absl::InvalidArgumentError(absl::StrCat("the input ", ShapeString(shape),
                                                 " has no matrices; its rank must be 2 or more"));
}

Inferred InferSize(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(context.InputShape(0).status());
  return One(DType::kInt64, {});
}

Inferred InferEyeLike(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  if (shape.size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input ", ShapeString(shape), " must be a matrix"));
  }
  DType type = context.InputDType(0);
  if (context.node.attributes.contains("dtype")) {
    DS_ASSIGN_OR_RETURN(type, DTypeFromOnnxTypeNumber(context.node.GetInt("dtype", 0)));
  }
  return One(type, std::move(shape));
}

Inferred InferNonZero(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(0));
  return One(DType::kInt64, {static_cast<int64_t>(shape.size()), kDynamicDim});
}

// Of OneHot: integers that are known, or a constant of floats.
std::optional<std::vector<int64_t>> Depth(const InferenceContext& context) {
  const Tensor* constant = ConstantInput(context, 1);
  if (constant == nullptr || constant->dtype() != DType::kFloat32) return PartlyKnown(context, 1);
  constexpr float kMost = 1e9F;  // elements of one axis: no float past it is meant
  std::vector<int64_t> depth;
  for (const float x : constant->span<float>()) {
    if (!(x > -kMost && x < kMost)) return std::nullopt;
    depth.push_back(static_cast<int64_t>(x));
  }
  return depth;
}

Inferred InferOneHot(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape values, context.InputShape(2));
  if (values.size() != 1 || !MayEqual(values[0], 2)) {
    return absl::InvalidArgumentError(
        absl::StrCat("values (input 2) has shape ", ShapeString(values), "; it must be [off, on]"));
  }
  const auto depth = Depth(context);
  if (depth && depth->size() != 1) {
    return absl::InvalidArgumentError("depth (input 1) must be one number");
  }
  const int64_t count = depth && depth->front() >= kFirstKnownInt ? depth->front() : kDynamicDim;
  if (!IsDynamic(count) && count < 1) {
    return absl::InvalidArgumentError(absl::StrCat("depth (input 1) is ", count, "; at least 1"));
  }
  DS_ASSIGN_OR_RETURN(const int64_t axis, NormalizeAxis(context.node.GetInt("axis", -1),
                                                        static_cast<int64_t>(shape.size()) + 1));
  shape.insert(shape.begin() + axis, count);
  return One(context.InputDType(2), std::move(shape));
}

}  // namespace

void AddArrangement(Table& table) {
  table.push_back(
      Op("DepthToSpace", 1, 1, {Required(Int("blocksize")), String("mode")}, InferDepthToSpace));
  table.push_back(Op("SpaceToDepth", 1, 1, {Required(Int("blocksize"))}, InferSpaceToDepth));
  table.push_back(Op("GridSample", 2, 2,
                     {Int("align_corners"), String("mode"), String("padding_mode")},
                     InferGridSample));
  table.push_back(Op("Trilu", 1, 2, {Int("upper")}, InferTrilu));
  table.push_back(Op("Size", 1, 1, {}, InferSize));
  table.push_back(Op("EyeLike", 1, 1, {Int("dtype"), Int("k")}, InferEyeLike));
  table.push_back(Op("NonZero", 1, 1, {}, InferNonZero));
  table.push_back(Op("OneHot", 3, 3, {Int("axis")}, InferOneHot));
}

}  // namespace ds::schema
