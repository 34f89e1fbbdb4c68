// Operators that normalise and pool: their results are statistics of a region of the input.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"
#include "graph/schema/window.h"

namespace ds::schema {

namespace {

Inferred InferBatchNorm(const InferenceContext& context) {
  static constexpr const char* kNames[] = {"", "scale", "bias", "mean", "variance"};
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  if (input.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input ", ShapeString(input), " must be [N, C, ...]"));
  }
  for (int i = 1; i <= 4; ++i) {
    DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(i));
    if (shape.size() != 1 || !MayEqual(shape[0], input[1])) {
      return absl::InvalidArgumentError(absl::StrCat(kNames[i], " has shape ", ShapeString(shape),
                                                     "; it must be [", input[1], "]"));
    }
  }
  return SameAsInput(context);
}

Inferred InferLayerNorm(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(int64_t axis, NormalizeAxis(context.node.GetInt("axis", -1),
                                                  static_cast<int64_t>(input.size())));
  for (int i = 1; i <= 2; ++i) {
    if (!context.HasInput(i)) continue;
    DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(i));
    const Shape normalized(input.begin() + axis, input.end());
    const auto fit = BroadcastShapes(normalized, shape);
    if (!fit.ok() || fit->size() != normalized.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(i == 1 ? "scale" : "bias", " has shape ", ShapeString(shape),
                       " but the normalised extents are ", ShapeString(normalized)));
    }
  }
  Shape statistics = input;
  std::fill(statistics.begin() + axis, statistics.end(), 1);
  return std::vector<InferredValue>{
      {context.InputDType(0), input}, {DType::kFloat32, statistics}, {DType::kFloat32, statistics}};
}

absl::StatusOr<Shape> PooledInput(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  if (input.size() < 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("the input ", ShapeString(input), " must be [N, C, L] or [N, C, H, W]"));
  }
  return input;
}

Inferred InferPool(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, PooledInput(context));
  DS_ASSIGN_OR_RETURN(Window window,
                      ResolveWindow(context.node, context.node.GetInts("kernel_shape", {}),
                                    absl::MakeConstSpan(input).subspan(2)));
  for (size_t i = 0; i < window.kernel.size(); ++i) {
    // A window that lies in the padding alone has no largest element.
    const int64_t extent = window.dilations[i] * (window.kernel[i] - 1) + 1;
    if (window.pad_begin[i] >= extent || window.pad_end[i] >= extent) {
      return absl::InvalidArgumentError(
          absl::StrCat("attribute 'pads' must be smaller than the window of ", extent));
    }
  }
  Shape out = {input[0], input[1]};
  out.insert(out.end(), window.output.begin(), window.output.end());
  return std::vector<InferredValue>{{context.InputDType(0), out}, {DType::kInt64, out}};
}

Inferred InferGlobalPool(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, PooledInput(context));
  std::fill(shape.begin() + 2, shape.end(), 1);
  return One(context.InputDType(0), std::move(shape));
}

}  // namespace

void AddNormalization(Table& table) {
  table.push_back(
      Op("BatchNormalization", 5, 5, {Float("epsilon"), Float("momentum")}, InferBatchNorm));
  table.back().parameter_inputs = {1, 2};
  table.push_back(Op("LayerNormalization", 2, 3, {Int("axis"), Float("epsilon")}, InferLayerNorm));
  table.back().max_outputs = 3;
  table.back().parameter_inputs = {1, 2};
}

void AddPooling(Table& table) {
  table.push_back(
      Op("MaxPool", 1, 1,
         {String("auto_pad"), Int("ceil_mode"), Ints("dilations"), Required(Ints("kernel_shape")),
          Ints("pads"), Int("storage_order"), Ints("strides")},
         InferPool));
  table.back().max_outputs = 2;  // the indices
  table.push_back(
      Op("AveragePool", 1, 1,
         {String("auto_pad"), Int("ceil_mode"), Int("count_include_pad"), Ints("dilations"),
          Required(Ints("kernel_shape")), Ints("pads"), Ints("strides")},
         InferPool));
  table.push_back(Op("LpPool", 1, 1,
                     {String("auto_pad"), Int("ceil_mode"), Ints("dilations"),
                      Required(Ints("kernel_shape")), Int("p"), Ints("pads"), Ints("strides")},
                     InferPool));
  table.push_back(Op("GlobalAveragePool", 1, 1, {}, InferGlobalPool));
  table.push_back(Op("GlobalMaxPool", 1, 1, {}, InferGlobalPool));
  table.push_back(Op("GlobalLpPool", 1, 1, {Int("p")}, InferGlobalPool));
}

}  // namespace ds::schema
