// Operators that read or write elements by index tensors: GatherND, GatherElements, ScatterND and
// ScatterElements.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

absl::Status CheckIndexType(const InferenceContext& context, int i) {
  const DType type = context.InputDType(i);
  if (type == DType::kInt64 || type == DType::kInt32) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the indices (input ", i, ") are ",
                                                 std::string(Name(type)),
                                                 "; they must be int64 or int32"));
}

absl::Status CheckReduction(const Node& node) {
  const std::string reduction = node.GetString("reduction", "none");
  for (const char* known : {"none", "add", "mul", "max", "min"}) {
    if (reduction == known) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("attribute 'reduction' is '", reduction,
                                                 "'; it must be none, add, mul, max or min"));
}

// How many axes of data an index tuple names: the last extent of the indices.
absl::StatusOr<size_t> TupleLength(const Shape& data, const Shape& indices, int64_t batch_axes) {
  if (indices.empty() || batch_axes < 0 || batch_axes >= static_cast<int64_t>(indices.size()) ||
      batch_axes > static_cast<int64_t>(data.size())) {
    return absl::InvalidArgumentError(absl::StrCat("data ", ShapeString(data), " and indices ",
                                                   ShapeString(indices), " do not fit ", batch_axes,
                                                   " batch axes"));
  }
  const int64_t length = indices.back();
  if (IsDynamic(length)) {
    return absl::FailedPreconditionError("the last extent of the indices must be known");
  }
  if (length > static_cast<int64_t>(data.size()) - batch_axes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the indices name ", length, " axes; data has the shape ", ShapeString(data)));
  }
  return static_cast<size_t>(length);
}

Inferred InferGatherNd(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape data, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape indices, context.InputShape(1));
  DS_RETURN_IF_ERROR(CheckIndexType(context, 1));
  const int64_t batch_axes = context.node.GetInt("batch_dims", 0);
  DS_ASSIGN_OR_RETURN(const size_t length, TupleLength(data, indices, batch_axes));
  Shape out(indices.begin(), indices.end() - 1);
  for (size_t i = 0; i < static_cast<size_t>(batch_axes); ++i) {
    if (!MayEqual(data[i], indices[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "batch axis ", i, " has ", data[i], " elements in data and ", indices[i], " in indices"));
    }
    if (IsDynamic(out[i])) out[i] = data[i];
  }
  out.insert(out.end(), data.begin() + batch_axes + static_cast<int64_t>(length), data.end());
  return One(context.InputDType(0), std::move(out));
}

Inferred InferScatterNd(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape data, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape indices, context.InputShape(1));
  DS_ASSIGN_OR_RETURN(const Shape updates, context.InputShape(2));
  DS_RETURN_IF_ERROR(CheckIndexType(context, 1));
  DS_RETURN_IF_ERROR(CheckReduction(context.node));
  DS_ASSIGN_OR_RETURN(const size_t length, TupleLength(data, indices, 0));
  Shape wanted(indices.begin(), indices.end() - 1);
  wanted.insert(wanted.end(), data.begin() + static_cast<int64_t>(length), data.end());
  bool fits = updates.size() == wanted.size();
  for (size_t i = 0; fits && i < wanted.size(); ++i) fits = MayEqual(updates[i], wanted[i]);
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat("the updates have shape ", ShapeString(updates),
                                                   "; they must be ", ShapeString(wanted)));
  }
  return One(context.InputDType(0), data);
}

// Shapes of an operator along one axis: indices within data on all the others.
absl::StatusOr<Shape> ElementIndices(const InferenceContext& context, const Shape& data) {
  DS_ASSIGN_OR_RETURN(const Shape indices, context.InputShape(1));
  DS_RETURN_IF_ERROR(CheckIndexType(context, 1));
  const auto rank = static_cast<int64_t>(data.size());
  DS_ASSIGN_OR_RETURN(const int64_t axis, NormalizeAxis(context.node.GetInt("axis", 0), rank));
  bool fits = indices.size() == data.size();
  for (int64_t i = 0; fits && i < rank; ++i) {
    fits = i == axis || IsDynamic(data[i]) || IsDynamic(indices[i]) || indices[i] <= data[i];
  }
  if (fits) return indices;
  return absl::InvalidArgumentError(absl::StrCat("the indices have shape ", ShapeString(indices),
                                                 ", which does not fit data ", ShapeString(data),
                                                 " but for axis ", axis));
}

Inferred InferGatherElements(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape data, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(Shape indices, ElementIndices(context, data));
  return One(context.InputDType(0), std::move(indices));
}

Inferred InferScatterElements(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape data, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape indices, ElementIndices(context, data));
  DS_ASSIGN_OR_RETURN(const Shape updates, context.InputShape(2));
  DS_RETURN_IF_ERROR(CheckReduction(context.node));
  bool fits = updates.size() == indices.size();
  for (size_t i = 0; fits && i < indices.size(); ++i) fits = MayEqual(updates[i], indices[i]);
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat("the updates ", ShapeString(updates),
                                                   " must have the shape of the indices ",
                                                   ShapeString(indices)));
  }
  return One(context.InputDType(0), data);
}

}  // namespace

void AddScatter(Table& table) {
  table.push_back(Op("GatherND", 2, 2, {Int("batch_dims")}, InferGatherNd));
  table.push_back(Op("ScatterND", 3, 3, {String("reduction")}, InferScatterNd));
  table.push_back(Op("GatherElements", 2, 2, {Int("axis")}, InferGatherElements));
  table.push_back(
      Op("ScatterElements", 3, 3, {Int("axis"), String("reduction")}, InferScatterElements));
}

}  // namespace ds::schema
