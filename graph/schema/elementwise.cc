// Operators that work element by element: activations, arithmetic and Where.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

Inferred InferFloatUnary(const InferenceContext& context) {
  if (!IsFloatingPoint(context.InputDType(0))) {
    return absl::InvalidArgumentError(
        absl::StrCat("input 0 is ", std::string(Name(context.InputDType(0))),
                     "; this operator takes floating point, so cast it first"));
  }
  return SameAsInput(context);
}

Inferred InferSoftmax(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_RETURN_IF_ERROR(
      NormalizeAxis(context.node.GetInt("axis", -1), static_cast<int64_t>(shape.size())).status());
  return InferFloatUnary(context);
}

Inferred InferGelu(const InferenceContext& context) {
  const std::string kind = context.node.GetString("approximate", "none");
  if (kind != "none" && kind != "tanh") {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'approximate' is '", kind, "'; it must be none or tanh"));
  }
  return InferFloatUnary(context);
}

absl::Status CheckScalar(const InferenceContext& context, int i, absl::string_view what) {
  if (!context.HasInput(i)) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(i));
  const auto count = KnownProduct(shape);
  if (count.has_value() && *count != 1) {
    return absl::InvalidArgumentError(absl::StrCat("input ", i, " (", std::string(what),
                                                   ") has shape ", ShapeString(shape),
                                                   "; it must be a scalar"));
  }
  return absl::OkStatus();
}

Inferred InferClip(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(CheckScalar(context, 1, "min"));
  DS_RETURN_IF_ERROR(CheckScalar(context, 2, "max"));
  return SameAsInput(context);
}

Inferred InferDropout(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(CheckScalar(context, 1, "ratio"));
  return SameAsInput(context);
}

absl::StatusOr<Shape> BroadcastInputs(const InferenceContext& context, int first, int second) {
  DS_ASSIGN_OR_RETURN(Shape a, context.InputShape(first));
  DS_ASSIGN_OR_RETURN(Shape b, context.InputShape(second));
  return BroadcastShapes(a, b);
}

absl::Status CheckSameType(const InferenceContext& context, int a, int b) {
  if (context.InputDType(a) == context.InputDType(b)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "inputs ", a, " and ", b, " are ", std::string(Name(context.InputDType(a))), " and ",
      std::string(Name(context.InputDType(b))), "; both must be of one type, so cast one"));
}

Inferred InferBinary(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(CheckSameType(context, 0, 1));
  DS_ASSIGN_OR_RETURN(Shape shape, BroadcastInputs(context, 0, 1));
  return One(context.InputDType(0), std::move(shape));
}

Inferred InferPow(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, BroadcastInputs(context, 0, 1));
  return One(context.InputDType(0), std::move(shape));
}

// The slope is broadcast to the input, never the input to the slope.
Inferred InferPRelu(const InferenceContext& context) {
  DS_RETURN_IF_ERROR(CheckSameType(context, 0, 1));
  DS_ASSIGN_OR_RETURN(const Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape slope, context.InputShape(1));
  const auto shape = BroadcastShapes(input, slope);
  if (!shape.ok() || shape->size() != input.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the slope ", ShapeString(slope),
                                                   " cannot be broadcast to the input ",
                                                   ShapeString(input)));
  }
  return SameAsInput(context);
}

Inferred InferWhere(const InferenceContext& context) {
  if (context.InputDType(0) != DType::kBool) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input 0 (condition) is ", std::string(Name(context.InputDType(0))), "; it must be bool"));
  }
  DS_RETURN_IF_ERROR(CheckSameType(context, 1, 2));
  DS_ASSIGN_OR_RETURN(Shape both, BroadcastInputs(context, 1, 2));
  DS_ASSIGN_OR_RETURN(Shape condition, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(Shape shape, BroadcastShapes(condition, both));
  return One(context.InputDType(1), std::move(shape));
}

Inferred InferCast(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(DType to, DTypeFromOnnxTypeNumber(context.node.GetInt("to", 0)));
  return One(to, std::move(shape));
}

}  // namespace

void AddActivations(Table& table) {
  for (const char* name :
       {"HardSwish", "Sigmoid", "SiLU", "Tanh", "Erf", "Softplus", "Softsign", "Mish"}) {
    table.push_back(Op(name, 1, 1, {}, InferFloatUnary));
  }
  table.push_back(Op("Relu", 1, 1, {}, SameAsInput));
  for (const char* name : {"Elu", "Celu", "ThresholdedRelu"}) {
    table.push_back(Op(name, 1, 1, {Float("alpha")}, InferFloatUnary));
  }
  table.push_back(Op("Selu", 1, 1, {Float("alpha"), Float("gamma")}, InferFloatUnary));
  table.push_back(Op("Shrink", 1, 1, {Float("bias"), Float("lambd")}, SameAsInput));
  table.push_back(Op("PRelu", 2, 2, {}, InferPRelu));
  table.back().parameter_inputs = {1};
  table.push_back(Op("Hardmax", 1, 1, {Int("axis")}, InferSoftmax));
  table.push_back(Op("LeakyRelu", 1, 1, {Float("alpha")}, InferFloatUnary));
  table.push_back(Op("HardSigmoid", 1, 1, {Float("alpha"), Float("beta")}, InferFloatUnary));
  table.push_back(Op("Gelu", 1, 1, {String("approximate")}, InferGelu));
  table.push_back(Op("Softmax", 1, 1, {Int("axis")}, InferSoftmax));
  table.push_back(Op("LogSoftmax", 1, 1, {Int("axis")}, InferSoftmax));
  table.push_back(Op("Clip", 1, 3, {}, InferClip));
  table.push_back(Op("Dropout", 1, 3, {Int("seed")}, InferDropout));
}

void AddArithmetic(Table& table) {
  for (const char* name : {"Add", "Sub", "Mul", "Div"}) {
    table.push_back(Op(name, 2, 2, {}, InferBinary));
  }
  for (const char* name :
       {"Sqrt", "Exp", "Log", "Reciprocal", "Round", "Floor", "Ceil", "Sin", "Cos", "Tan", "Asin",
        "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"}) {
    table.push_back(Op(name, 1, 1, {}, InferFloatUnary));
  }
  for (const char* name : {"Neg", "Abs", "Sign", "Identity"}) {
    table.push_back(Op(name, 1, 1, {}, SameAsInput));
  }
  table.push_back(Op("Pow", 2, 2, {}, InferPow));
  table.push_back(Op("Where", 3, 3, {}, InferWhere));
  table.push_back(Op("Cast", 1, 1, {Required(Int("to"))}, InferCast));
}

}  // namespace ds::schema
