// Comparisons, logic, and what chooses between numbers: their operands broadcast.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

// All inputs are of one type; the shape they broadcast to.
absl::StatusOr<Shape> BroadcastAll(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  for (int i = 1; i < static_cast<int>(context.node.inputs.size()); ++i) {
    DS_ASSIGN_OR_RETURN(const Shape other, context.InputShape(i));
    DS_ASSIGN_OR_RETURN(shape, BroadcastShapes(shape, other));
    if (context.InputDType(i) != context.InputDType(0)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "inputs 0 and ", i, " are ", std::string(Name(context.InputDType(0))), " and ",
          std::string(Name(context.InputDType(i))), "; all must be of one type, so cast one"));
    }
  }
  return shape;
}

Inferred InferComparison(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, BroadcastAll(context));
  return One(DType::kBool, std::move(shape));
}

Inferred InferLogic(const InferenceContext& context) {
  if (context.InputDType(0) != DType::kBool) {
    return absl::InvalidArgumentError(
        absl::StrCat("input 0 is ", std::string(Name(context.InputDType(0))),
                     "; this operator takes bool, so compare or cast first"));
  }
  return InferComparison(context);
}

Inferred InferVariadic(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, BroadcastAll(context));
  return One(context.InputDType(0), std::move(shape));
}

Inferred InferInteger(const InferenceContext& context) {
  const DType type = context.InputDType(0);
  if (IsFloatingPoint(type) || type == DType::kBool) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input 0 is ", std::string(Name(type)), "; this operator takes integers, so cast first"));
  }
  return InferVariadic(context);
}

Inferred InferMod(const InferenceContext& context) {
  if (IsFloatingPoint(context.InputDType(0)) && context.node.GetInt("fmod", 0) == 0) {
    return absl::InvalidArgumentError(
        "floating point needs the attribute 'fmod' to be 1; set it in the model");
  }
  return InferVariadic(context);
}

Inferred InferFloatTest(const InferenceContext& context) {
  if (!IsFloatingPoint(context.InputDType(0))) {
    return absl::InvalidArgumentError(
        absl::StrCat("input 0 is ", std::string(Name(context.InputDType(0))),
                     "; this operator takes floating point, so cast it first"));
  }
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  return One(DType::kBool, std::move(shape));
}

}  // namespace

void AddLogic(Table& table) {
  for (const char* name : {"Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"}) {
    table.push_back(Op(name, 2, 2, {}, InferComparison));
  }
  for (const char* name : {"And", "Or", "Xor"}) table.push_back(Op(name, 2, 2, {}, InferLogic));
  table.push_back(Op("Not", 1, 1, {}, InferLogic));
  for (const char* name : {"Max", "Min", "Sum", "Mean"}) {
    table.push_back(Op(name, 1, INT_MAX, {}, InferVariadic));
  }
  for (const char* name : {"BitwiseAnd", "BitwiseOr", "BitwiseXor"}) {
    table.push_back(Op(name, 2, 2, {}, InferInteger));
  }
  table.push_back(Op("BitwiseNot", 1, 1, {}, InferInteger));
  table.push_back(Op("Mod", 2, 2, {Int("fmod")}, InferMod));
  table.push_back(Op("IsNaN", 1, 1, {}, InferFloatTest));
  table.push_back(
      Op("IsInf", 1, 1, {Int("detect_negative"), Int("detect_positive")}, InferFloatTest));
}

}  // namespace ds::schema
