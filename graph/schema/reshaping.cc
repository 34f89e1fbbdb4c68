// Operators that give the same elements another shape: Reshape, Flatten, Transpose, Squeeze and the
// like.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

Inferred InferFlatten(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  const auto rank = static_cast<int64_t>(input.size());
  int64_t axis = context.node.GetInt("axis", 1);
  if (axis < -rank || axis > rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("axis ", axis, " is outside [", -rank, ", ", rank, "]"));
  }
  if (axis < 0) axis += rank;
  const auto extents = absl::MakeConstSpan(input);
  return One(context.InputDType(0), {KnownProduct(extents.subspan(0, axis)).value_or(kDynamicDim),
                                     KnownProduct(extents.subspan(axis)).value_or(kDynamicDim)});
}

// A target of Reshape that is being worked out.
struct Target {
  Shape shape;
  int inferred = -1;              // the axis of the -1
  std::vector<bool> copied_from;  // input axes that the target repeats as they are
};

absl::StatusOr<Target> ReadTarget(const InferenceContext& context, const Shape& input,
                                  const std::vector<int64_t>& wanted) {
  Target target{{}, -1, std::vector<bool>(input.size(), false)};
  const bool zero_copies = context.node.GetInt("allowzero", 0) == 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    int64_t extent = wanted[i];
    if (extent == -1) {
      if (target.inferred >= 0) {
        return absl::InvalidArgumentError("the new shape has more than one -1");
      }
      target.inferred = static_cast<int>(i);
      extent = kDynamicDim;
    } else if (extent == 0 && zero_copies) {
      if (i >= input.size()) {
        return absl::InvalidArgumentError(
            absl::StrCat("the new shape copies axis ", i, ", which the input does not have"));
      }
      extent = input[i];
      target.copied_from[i] = true;
    } else if (extent < kFirstKnownInt) {
      // The mark of an extent of this very input is as good as a 0 in its place.
      const int64_t axis = (extent - kUnknownInt - 1) - int64_t{context.node.inputs[0]} * 64;
      if (axis >= 0 && axis < static_cast<int64_t>(input.size())) target.copied_from[axis] = true;
      extent = kDynamicDim;
    } else if (extent < 0) {
      return absl::InvalidArgumentError(absl::StrCat("the new shape holds ", extent));
    }
    target.shape.push_back(extent);
  }
  return target;
}

// Fills in the -1, or checks the number of elements, after extents on both sides have been
// cancelled.
absl::Status CompleteTarget(const Shape& input, Target& target) {
  Shape left;
  int64_t cancelled = 0;
  for (size_t i = 0; i < input.size(); ++i) {
    if (IsDynamic(input[i]) && target.copied_from[i]) {
      ++cancelled;
    } else {
      left.push_back(input[i]);
    }
  }
  Shape right;
  for (size_t i = 0; i < target.shape.size(); ++i) {
    if (static_cast<int>(i) == target.inferred) continue;
    if (IsDynamic(target.shape[i]) && cancelled > 0) {
      --cancelled;
    } else {
      right.push_back(target.shape[i]);
    }
  }
  const auto total = KnownProduct(left);
  const auto used = KnownProduct(right);
  if (!total || !used) return absl::OkStatus();
  const bool fits = target.inferred < 0 ? *total == *used : *used != 0 && *total % *used == 0;
  if (!fits) {
    return absl::InvalidArgumentError(absl::StrCat("the ", *total, " elements of ",
                                                   ShapeString(input), " do not fit the new shape ",
                                                   ShapeString(target.shape)));
  }
  if (target.inferred >= 0) target.shape[target.inferred] = *total / *used;
  return absl::OkStatus();
}

Inferred InferReshape(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  const auto wanted = PartlyKnown(context, 1);
  if (!wanted) {
    return absl::FailedPreconditionError(
        "the rank of the new shape (input 1) is not known; make it a constant of integers");
  }
  DS_ASSIGN_OR_RETURN(Target target, ReadTarget(context, input, *wanted));
  DS_RETURN_IF_ERROR(CompleteTarget(input, target));
  return One(context.InputDType(0), std::move(target.shape));
}

Inferred InferTranspose(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  std::vector<int64_t> perm(input.size());
  std::iota(perm.rbegin(), perm.rend(), 0);
  perm = context.node.GetInts("perm", perm);
  std::vector<int64_t> sorted = perm;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < std::max(sorted.size(), input.size()); ++i) {
    if (sorted.size() != input.size() || sorted[i] != static_cast<int64_t>(i)) {
      return absl::InvalidArgumentError(
          absl::StrCat("attribute 'perm' must hold each axis of the rank ", input.size(), " once"));
    }
  }
  Shape out;
  for (int64_t axis : perm) out.push_back(input[axis]);
  return One(context.InputDType(0), std::move(out));
}

Inferred InferSqueeze(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  std::vector<bool> drop(input.size(), false);
  if (context.HasInput(1)) {
    DS_ASSIGN_OR_RETURN(const int64_t count, KnownCount(context, 1, "axes"));
    const auto known = AllKnown(context, 1);
    if (count > static_cast<int64_t>(input.size())) {
      return absl::InvalidArgumentError("there are more axes than the input has");
    }
    if (!known) return One(context.InputDType(0), Shape(input.size() - count, kDynamicDim));
    DS_ASSIGN_OR_RETURN(const auto axes, NormalizeAxes(*known, static_cast<int64_t>(input.size())));
    for (int64_t axis : axes) {
      if (!MayEqual(input[axis], 1)) {
        return absl::InvalidArgumentError(
            absl::StrCat("axis ", axis, " has the extent ", input[axis], "; only 1 can go"));
      }
      drop[axis] = true;
    }
  } else {
    for (size_t i = 0; i < input.size(); ++i) drop[i] = input[i] == 1;
  }
  Shape out;
  for (size_t i = 0; i < input.size(); ++i) {
    if (!drop[i]) out.push_back(input[i]);
  }
  return One(context.InputDType(0), std::move(out));
}

Inferred InferUnsqueeze(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const int64_t count, KnownCount(context, 1, "axes"));
  const size_t rank = input.size() + static_cast<size_t>(count);
  const auto known = AllKnown(context, 1);
  if (!known) return One(context.InputDType(0), Shape(rank, kDynamicDim));
  DS_ASSIGN_OR_RETURN(const auto axes, NormalizeAxes(*known, static_cast<int64_t>(rank)));
  Shape out(rank, 0);
  for (int64_t axis : axes) out[axis] = 1;
  auto next = input.begin();
  for (int64_t& extent : out) {
    if (extent == 0) extent = *next++;
  }
  return One(context.InputDType(0), std::move(out));
}

Inferred InferExpand(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  auto wanted = PartlyKnown(context, 1);
  if (!wanted) return absl::FailedPreconditionError("the rank of the new shape is not known");
  for (int64_t& extent : *wanted) {
    if (extent < kFirstKnownInt) extent = kDynamicDim;
    // PyTorch writes -1 for "as it is"; ONNX has 1 for that.
    else if (extent == -1)
      extent = 1;
  }
  DS_ASSIGN_OR_RETURN(Shape out, BroadcastShapes(input, *wanted));
  return One(context.InputDType(0), std::move(out));
}

Inferred InferTile(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape out, context.InputShape(0));
  const auto repeats = PartlyKnown(context, 1);
  if (repeats && repeats->size() != out.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are ", repeats->size(), " repeats for a tensor of rank ", out.size()));
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t times = repeats ? (*repeats)[i] : kUnknownInt;
    if (IsDynamic(out[i]) || times < kFirstKnownInt) {
      out[i] = kDynamicDim;
    } else if (times < 0 || __builtin_mul_overflow(out[i], times, &out[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot repeat axis ", i, " ", times, " times"));
    }
  }
  return One(context.InputDType(0), std::move(out));
}

}  // namespace

void AddReshaping(Table& table) {
  table.push_back(Op("Flatten", 1, 1, {Int("axis")}, InferFlatten));
  table.push_back(Op("Reshape", 2, 2, {Int("allowzero")}, InferReshape));
  table.push_back(Op("Transpose", 1, 1, {Ints("perm")}, InferTranspose));
  table.push_back(Op("Squeeze", 1, 2, {}, InferSqueeze));
  table.push_back(Op("Unsqueeze", 2, 2, {}, InferUnsqueeze));
  table.push_back(Op("Expand", 2, 2, {}, InferExpand));
  table.push_back(Op("Tile", 2, 2, {}, InferTile));
}

}  // namespace ds::schema
