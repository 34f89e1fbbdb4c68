// Reductions over axes and what looks for elements along one: ArgMax, TopK, CumSum.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

// The axes of a reduction: input 1, or the attribute. nullopt: only their number is known.
struct Axes {
  std::optional<std::vector<int64_t>> fixed;
  int64_t count = 0;
};

absl::StatusOr<Axes> ReadAxes(const InferenceContext& context) {
  Axes axes;
  if (!context.HasInput(1)) {
    axes.fixed = context.node.GetInts("axes", {});
    return axes;
  }
  if (context.node.attributes.contains("axes")) {
    return absl::InvalidArgumentError("axes are given both as an input and as an attribute");
  }
  const auto known = PartlyKnown(context, 1);
  if (!known) {
    return absl::FailedPreconditionError(
        "input 1 (axes) has no known length; make it a constant of integers");
  }
  bool fixed = true;
  for (const int64_t axis : *known) fixed = fixed && axis >= kFirstKnownInt;
  axes.count = static_cast<int64_t>(known->size());
  if (fixed) axes.fixed = *known;
  return axes;
}

absl::StatusOr<Shape> ReducedShape(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Axes read, ReadAxes(context));
  const auto rank = static_cast<int64_t>(input.size());
  const bool keep = context.node.GetInt("keepdims", 1) != 0;
  if (!read.fixed.has_value()) {
    if (!keep && read.count > rank) return absl::InvalidArgumentError("there are too many axes");
    // Which extents stay is known when it runs.
    return Shape(static_cast<size_t>(keep ? rank : rank - read.count), kDynamicDim);
  }
  if (read.fixed->empty() && context.node.GetInt("noop_with_empty_axes", 0) != 0) return input;
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, NormalizeAxes(*read.fixed, rank));
  std::vector<bool> reduced(input.size(), axes.empty());
  for (const int64_t axis : axes) reduced[axis] = true;
  Shape out;
  for (size_t i = 0; i < input.size(); ++i) {
    if (!reduced[i]) {
      out.push_back(input[i]);
    } else if (keep) {
      out.push_back(1);
    }
  }
  return out;
}

Inferred InferReduction(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, ReducedShape(context));
  return One(context.InputDType(0), std::move(shape));
}

// Reductions that a bool has no meaning for.
Inferred InferNumericReduction(const InferenceContext& context) {
  if (context.InputDType(0) == DType::kBool) {
    return absl::InvalidArgumentError("input 0 is bool; cast it to a number first");
  }
  return InferReduction(context);
}

Inferred InferArg(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const int64_t axis, NormalizeAxis(context.node.GetInt("axis", 0),
                                                        static_cast<int64_t>(shape.size())));
  if (shape[axis] == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("axis ", axis, " has no elements to choose from"));
  }
  if (context.node.GetInt("keepdims", 1) != 0) {
    shape[axis] = 1;
  } else {
    shape.erase(shape.begin() + axis);
  }
  return One(DType::kInt64, std::move(shape));
}

Inferred InferTopK(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const int64_t axis, NormalizeAxis(context.node.GetInt("axis", -1),
                                                        static_cast<int64_t>(shape.size())));
  const auto k = PartlyKnown(context, 1);
  if (k && k->size() != 1) return absl::InvalidArgumentError("k (input 1) must be one number");
  const int64_t count = k && k->front() >= kFirstKnownInt ? k->front() : kDynamicDim;
  if (!IsDynamic(count) && (count < 0 || (!IsDynamic(shape[axis]) && count > shape[axis]))) {
    return absl::InvalidArgumentError(absl::StrCat("k is ", count, " but axis ", axis, " has ",
                                                   shape[axis], " elements; ask for fewer"));
  }
  shape[axis] = count;
  return std::vector<InferredValue>{{context.InputDType(0), shape}, {DType::kInt64, shape}};
}

Inferred InferCumSum(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(0));
  const auto axis = PartlyKnown(context, 1);
  if (axis && axis->size() != 1) {
    return absl::InvalidArgumentError("axis (input 1) must be one number");
  }
  if (axis && axis->front() >= kFirstKnownInt) {
    DS_RETURN_IF_ERROR(NormalizeAxis(axis->front(), static_cast<int64_t>(shape.size())).status());
  }
  return SameAsInput(context);
}

}  // namespace

void AddReductions(Table& table) {
  const std::vector<AttributeSchema> attributes = {Ints("axes"), Int("keepdims"),
                                                   Int("noop_with_empty_axes")};
  for (const char* name : {"ReduceMean", "ReduceSum", "ReduceProd", "ReduceL1", "ReduceL2",
                           "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"}) {
    table.push_back(Op(name, 1, 2, attributes, InferNumericReduction));
  }
  for (const char* name : {"ReduceMax", "ReduceMin"}) {
    table.push_back(Op(name, 1, 2, attributes, InferReduction));
  }
  for (const char* name : {"ArgMax", "ArgMin"}) {
    table.push_back(
        Op(name, 1, 1, {Int("axis"), Int("keepdims"), Int("select_last_index")}, InferArg));
  }
  table.push_back(Op("TopK", 2, 2, {Int("axis"), Int("largest"), Int("sorted")}, InferTopK));
  table.back().max_outputs = 2;
  table.push_back(Op("CumSum", 2, 2, {Int("exclusive"), Int("reverse")}, InferCumSum));
}

}  // namespace ds::schema
