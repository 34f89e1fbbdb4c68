// Operators that pick and join parts of tensors: Concat, Split, Slice and Gather.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

Inferred InferConcat(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape out, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(int64_t axis, NormalizeAxis(context.node.GetInt("axis", 0),
                                                  static_cast<int64_t>(out.size())));
  for (size_t i = 1; i < context.node.inputs.size(); ++i) {
    DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(static_cast<int>(i)));
    bool fits = shape.size() == out.size() && context.InputDType(i) == context.InputDType(0);
    for (size_t d = 0; fits && d < out.size(); ++d) {
      if (static_cast<int64_t>(d) == axis) {
        out[d] = IsDynamic(out[d]) || IsDynamic(shape[d]) ? kDynamicDim : out[d] + shape[d];
      } else {
        fits = MayEqual(out[d], shape[d]);
        if (IsDynamic(out[d])) out[d] = shape[d];
      }
    }
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat("input ", i, " ", ShapeString(shape),
                                                     " must have the type and, but for axis ", axis,
                                                     ", the extents of the inputs before it"));
    }
  }
  return One(context.InputDType(0), std::move(out));
}

absl::StatusOr<std::vector<int64_t>> SplitSizes(const InferenceContext& context, int64_t extent) {
  const auto parts = static_cast<int64_t>(context.node.outputs.size());
  if (context.HasInput(1)) {
    const auto known = PartlyKnown(context, 1);
    if (!AllKnown(context, 1)) {
      if (!known || static_cast<int64_t>(known->size()) == parts) {
        return std::vector<int64_t>(parts, kDynamicDim);
      }
      return absl::InvalidArgumentError(
          absl::StrCat("there are ", known->size(), " sizes for ", parts, " outputs"));
    }
    const std::vector<int64_t>& sizes = *known;
    int64_t sum = 0;
    for (int64_t size : sizes) {
      if (size < 0 || size > (int64_t{1} << 40)) {
        return absl::InvalidArgumentError(absl::StrCat("a part has the size ", size));
      }
      sum += size;
    }
    if (static_cast<int64_t>(sizes.size()) != parts || !MayEqual(sum, extent)) {
      return absl::InvalidArgumentError(absl::StrCat("the ", sizes.size(), " sizes add up to ", sum,
                                                     " for ", parts, " outputs and an extent of ",
                                                     extent));
    }
    return sizes;
  }
  if (IsDynamic(extent)) return std::vector<int64_t>(parts, kDynamicDim);
  if (extent % parts != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "an extent of ", extent, " cannot be split into ", parts, " equal parts; give the sizes"));
  }
  return std::vector<int64_t>(parts, extent / parts);
}

Inferred InferSplit(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(int64_t axis, NormalizeAxis(context.node.GetInt("axis", 0),
                                                  static_cast<int64_t>(shape.size())));
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> sizes, SplitSizes(context, shape[axis]));
  std::vector<InferredValue> out;
  for (int64_t size : sizes) {
    shape[axis] = size;
    out.push_back({context.InputDType(0), shape});
  }
  return out;
}

// Extent of one sliced axis.
int64_t SliceExtent(int64_t extent, int64_t start, int64_t end, int64_t step) {
  const bool known = start >= kFirstKnownInt && end >= kFirstKnownInt && step >= kFirstKnownInt;
  if (IsDynamic(extent) || !known) {
    // From the beginning to the end with step 1 nothing is cut; either way the extent stays open.
    return kDynamicDim;
  }
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  if (step > 0) {
    start = std::clamp<int64_t>(start, 0, extent);
    end = std::clamp<int64_t>(end, 0, extent);
    return end <= start ? 0 : (end - start - 1) / step + 1;
  }
  start = std::clamp<int64_t>(start, -1, extent - 1);
  end = std::clamp<int64_t>(end, -1, extent - 1);
  const int64_t back = step == INT64_MIN ? INT64_MAX : -step;
  return start <= end ? 0 : (start - end - 1) / back + 1;
}

Inferred InferSlice(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  const auto rank = static_cast<int64_t>(shape.size());
  auto starts = PartlyKnown(context, 1);
  auto ends = PartlyKnown(context, 2);
  if (!starts || !ends) return One(context.InputDType(0), Shape(rank, kDynamicDim));
  std::vector<int64_t> axes(starts->size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  if (context.HasInput(3)) {
    const auto known = AllKnown(context, 3);
    if (!known) return One(context.InputDType(0), Shape(rank, kDynamicDim));
    axes = *known;
  }
  DS_ASSIGN_OR_RETURN(axes, NormalizeAxes(std::move(axes), rank));
  std::vector<int64_t> steps(axes.size(), 1);
  if (context.HasInput(4)) steps = PartlyKnown(context, 4).value_or(std::vector<int64_t>());
  if (starts->size() != axes.size() || ends->size() != axes.size() || steps.size() != axes.size()) {
    return absl::InvalidArgumentError("starts, ends, axes and steps must be of one length");
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    if (steps[i] == 0) return absl::InvalidArgumentError("a step of 0 never gets anywhere");
    shape[axes[i]] = SliceExtent(shape[axes[i]], (*starts)[i], (*ends)[i], steps[i]);
  }
  return One(context.InputDType(0), std::move(shape));
}

Inferred InferGather(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape data, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(Shape indices, context.InputShape(1));
  const DType type = context.InputDType(1);
  if (type != DType::kInt64 && type != DType::kInt32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the indices (input 1) are ", std::string(Name(type)), "; they must be int32 or int64"));
  }
  DS_ASSIGN_OR_RETURN(int64_t axis, NormalizeAxis(context.node.GetInt("axis", 0),
                                                  static_cast<int64_t>(data.size())));
  Shape out(data.begin(), data.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + axis + 1, data.end());
  return One(context.InputDType(0), std::move(out));
}

}  // namespace

void AddIndexing(Table& table) {
  table.push_back(Op("Concat", 1, INT_MAX, {Required(Int("axis"))}, InferConcat));
  table.push_back(Op("Split", 1, 2, {Int("axis")}, InferSplit));
  table.back().max_outputs = INT_MAX;
  table.push_back(Op("Slice", 3, 5, {}, InferSlice));
  table.push_back(Op("Gather", 2, 2, {Int("axis")}, InferGather));
  table.back().parameter_inputs = {0};
}

}  // namespace ds::schema
