// Pad, and Resize of functions/resize.cc.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

Inferred InferPad(const InferenceContext& context) {
  const std::string mode = context.node.GetString("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap") {
    return absl::InvalidArgumentError(absl::StrCat(
        "attribute 'mode' is '", mode, "'; supported are constant, reflect, edge and wrap"));
  }
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  const size_t rank = shape.size();
  DS_ASSIGN_OR_RETURN(const int64_t count, KnownCount(context, 1, "pads"));
  int64_t axes = static_cast<int64_t>(rank);
  if (context.HasInput(3)) {
    DS_ASSIGN_OR_RETURN(axes, KnownCount(context, 3, "axes"));
  }
  if (count != 2 * axes) {
    return absl::InvalidArgumentError(absl::StrCat("pads has ", count, " numbers for ", axes,
                                                   " axes of a tensor of rank ", rank,
                                                   "; it needs two an axis, all beginnings first"));
  }
  const auto known = AllKnown(context, 1);
  const auto chosen = context.HasInput(3) ? AllKnown(context, 3) : std::nullopt;
  if (!known || (context.HasInput(3) && !chosen)) {
    return One(context.InputDType(0), Shape(rank, kDynamicDim));
  }
  std::vector<int64_t> pads = *known;
  if (chosen) {
    pads.assign(2 * rank, 0);
    for (size_t i = 0; i < chosen->size(); ++i) {
      const int64_t axis = (*chosen)[i] + ((*chosen)[i] < 0 ? static_cast<int64_t>(rank) : 0);
      if (axis < 0 || axis >= static_cast<int64_t>(rank)) {
        return absl::InvalidArgumentError(
            absl::StrCat("axes holds ", (*chosen)[i], "; the tensor has rank ", rank));
      }
      pads[static_cast<size_t>(axis)] = (*known)[i];
      pads[static_cast<size_t>(axis) + rank] = (*known)[i + chosen->size()];
    }
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
  AddResize(table);
  table.push_back(Op("Pad", 2, 4, {String("mode")}, InferPad));
}

}  // namespace ds::schema
