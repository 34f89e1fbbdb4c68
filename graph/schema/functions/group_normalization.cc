// Normalisations over groups of channels, neighbours and chosen axes.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

absl::StatusOr<Shape> ChannelsInput(const InferenceContext& context, size_t least_rank) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  if (input.size() >= least_rank && IsFloatingPoint(context.InputDType(0))) return input;
  return absl::InvalidArgumentError(absl::StrCat("the input ", ShapeString(input),
                                                 " must be [N, C, ...] of floating point and rank ",
                                                 least_rank, " or more"));
}

// Scale and bias, one number a channel.
Inferred InferByChannel(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, ChannelsInput(context, 2));
  for (int i = 1; i <= 2; ++i) {
    DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(i));
    if (shape.size() != 1 || !MayEqual(shape[0], input[1])) {
      return absl::InvalidArgumentError(absl::StrCat(i == 1 ? "scale" : "bias", " has shape ",
                                                     ShapeString(shape), "; it must be [", input[1],
                                                     "]"));
    }
  }
  return SameAsInput(context);
}

Inferred InferGroupNorm(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, ChannelsInput(context, 2));
  const int64_t groups = context.node.GetInt("num_groups", 0);
  if (groups < 1 || (!IsDynamic(input[1]) && input[1] % groups != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("attribute 'num_groups' is ", groups,
                                                   "; it must divide the ", input[1], " channels"));
  }
  return InferByChannel(context);
}

Inferred InferLrn(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(ChannelsInput(context, 2).status());
  if (context.node.GetInt("size", 0) < 1) {
    return absl::InvalidArgumentError("attribute 'size' must be 1 or more channels");
  }
  return SameAsInput(context);
}

Inferred InferLpNorm(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, ChannelsInput(context, 1));
  const int64_t p = context.node.GetInt("p", 2);
  if (p != 1 && p != 2) {
    return absl::InvalidArgumentError(absl::StrCat("attribute 'p' is ", p, "; it must be 1 or 2"));
  }
  DS_RETURN_IF_ERROR(
      NormalizeAxis(context.node.GetInt("axis", -1), static_cast<int64_t>(input.size())).status());
  return SameAsInput(context);
}

Inferred InferMeanVariance(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, ChannelsInput(context, 1));
  DS_RETURN_IF_ERROR(
      NormalizeAxes(context.node.GetInts("axes", {0, 2, 3}), static_cast<int64_t>(input.size()))
          .status());
  return SameAsInput(context);
}

Inferred InferRmsNorm(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, ChannelsInput(context, 1));
  DS_ASSIGN_OR_RETURN(const int64_t axis, NormalizeAxis(context.node.GetInt("axis", -1),
                                                        static_cast<int64_t>(input.size())));
  DS_ASSIGN_OR_RETURN(const Shape scale, context.InputShape(1));
  const Shape normalized(input.begin() + axis, input.end());
  const auto fit = BroadcastShapes(normalized, scale);
  if (!fit.ok() || fit->size() != normalized.size()) {
    return absl::InvalidArgumentError(absl::StrCat("scale has shape ", ShapeString(scale),
                                                   " but the normalised extents are ",
                                                   ShapeString(normalized)));
  }
  return SameAsInput(context);
}

}  // namespace

void AddGroupNormalization(Table& table) {
  table.push_back(Op("InstanceNormalization", 3, 3, {Float("epsilon")}, InferByChannel));
  table.back().parameter_inputs = {1, 2};
  table.push_back(Op("GroupNormalization", 3, 3, {Float("epsilon"), Required(Int("num_groups"))},
                     InferGroupNorm));
  table.back().parameter_inputs = {1, 2};
  table.push_back(Op("RMSNormalization", 2, 2, {Int("axis"), Float("epsilon")}, InferRmsNorm));
  table.back().parameter_inputs = {1};
  table.push_back(Op("LRN", 1, 1,
                     {Float("alpha"), Float("beta"), Float("bias"), Required(Int("size"))},
                     InferLrn));
  table.push_back(Op("LpNormalization", 1, 1, {Int("axis"), Int("p")}, InferLpNorm));
  table.push_back(Op("MeanVarianceNormalization", 1, 1, {Ints("axes")}, InferMeanVariance));
}

}  // namespace ds::schema
