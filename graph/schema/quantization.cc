// QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: per tensor, per index of an axis, or
// in blocks along an axis.
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

bool IsCode(DType dtype) {
  switch (dtype) {
    case DType::kInt2:
    case DType::kUInt2:
    case DType::kInt4:
    case DType::kUInt4:
    case DType::kInt8:
    case DType::kUInt8:
    case DType::kInt16:
    case DType::kUInt16:
      return true;
    default:
      return false;
  }
}

absl::Status WrongScale(const Shape& scale, absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrCat("the scale has shape ", ShapeString(scale),
                                                 "; it must be ", std::string(wanted)));
}

absl::Status CheckBlocks(const Shape& input, const Shape& scale, int64_t axis, int64_t block) {
  Shape wanted = input;
  int64_t& extent = wanted[axis];
  if (!IsDynamic(extent)) extent = extent / block + (extent % block != 0);
  bool fits = scale.size() == wanted.size();
  for (size_t i = 0; fits && i < wanted.size(); ++i) fits = MayEqual(scale[i], wanted[i]);
  if (fits) return absl::OkStatus();
  return WrongScale(scale, absl::StrCat(ShapeString(wanted), " for blocks of ", block));
}

// The scale's shape against the tensor's. One element is for the whole tensor, whatever the axis.
absl::Status CheckScale(const InferenceContext& context, const Shape& input, const Shape& scale) {
  const int64_t block = context.node.GetInt("block_size", 0);
  if (block < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'block_size' is ", block, "; it must be 0 (no blocks) or more"));
  }
  const bool whole = scale.empty() || (scale.size() == 1 && scale[0] == 1);
  if (whole && block == 0) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const int64_t axis, NormalizeAxis(context.node.GetInt("axis", 1),
                                                        static_cast<int64_t>(input.size())));
  if (block > 0) return CheckBlocks(input, scale, axis, block);
  if (scale.size() == 1 && MayEqual(scale[0], input[axis])) return absl::OkStatus();
  return WrongScale(scale, absl::StrCat("a scalar, or [", input[axis], "] for axis ", axis));
}

absl::Status CheckOperands(const InferenceContext& context, const Shape& input) {
  DS_ASSIGN_OR_RETURN(const Shape scale, context.InputShape(1));
  if (!IsFloatingPoint(context.InputDType(1))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the scale is ", std::string(Name(context.InputDType(1))), "; it must be floating point"));
  }
  DS_RETURN_IF_ERROR(CheckScale(context, input, scale));
  if (!context.HasInput(2)) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const Shape zero_point, context.InputShape(2));
  // One element is one element: files have [] beside [1].
  const bool single =
      (scale.empty() || scale == Shape{1}) && (zero_point.empty() || zero_point == Shape{1});
  if (single) return absl::OkStatus();
  bool same = zero_point.size() == scale.size();
  for (size_t i = 0; same && i < scale.size(); ++i) same = MayEqual(scale[i], zero_point[i]);
  if (same) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the zero point has shape ",
                                                 ShapeString(zero_point), " but the scale ",
                                                 ShapeString(scale), "; both must be the same"));
}

Inferred InferQuantizeLinear(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  if (!IsFloatingPoint(context.InputDType(0))) {
    return absl::InvalidArgumentError(
        absl::StrCat("input 0 is ", std::string(Name(context.InputDType(0))),
                     "; only floating point can be quantised, so cast it first"));
  }
  DS_RETURN_IF_ERROR(CheckOperands(context, input));
  const DType type = context.HasInput(2) ? context.InputDType(2) : DType::kUInt8;
  if (!IsCode(type)) {
    return absl::InvalidArgumentError(absl::StrCat("the zero point is ", std::string(Name(type)),
                                                   "; it must be an integer of 2 to 16 bits"));
  }
  return One(type, std::move(input));
}

Inferred InferDequantizeLinear(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  const DType type = context.InputDType(0);
  if (!IsCode(type) && type != DType::kInt32) {
    return absl::InvalidArgumentError(
        absl::StrCat("input 0 is ", std::string(Name(type)),
                     "; only integers of 2 to 16 bits and int32 can be dequantised"));
  }
  DS_RETURN_IF_ERROR(CheckOperands(context, input));
  if (context.HasInput(2) && context.InputDType(2) != type) {
    return absl::InvalidArgumentError(
        absl::StrCat("the zero point is ", std::string(Name(context.InputDType(2))),
                     " but input 0 is ", std::string(Name(type)), "; both must be of one type"));
  }
  return One(context.InputDType(1), std::move(input));
}

// Codes of the tensor's own range: the codes, their scale and zero point.
Inferred InferDynamicQuantizeLinear(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  if (context.InputDType(0) != DType::kFloat32) {
    return absl::InvalidArgumentError("input 0 must be float32");
  }
  return std::vector<InferredValue>{
      {DType::kUInt8, std::move(input)}, {DType::kFloat32, {}}, {DType::kUInt8, {}}};
}

}  // namespace

void AddQuantization(Table& table) {
  table.push_back(
      Op("QuantizeLinear", 2, 3, {Int("axis"), Int("block_size")}, InferQuantizeLinear));
  table.push_back(
      Op("DequantizeLinear", 2, 3, {Int("axis"), Int("block_size")}, InferDequantizeLinear));
  table.push_back(Op("DynamicQuantizeLinear", 1, 1, {}, InferDynamicQuantizeLinear));
  table.back().max_outputs = 3;
}

}  // namespace ds::schema
