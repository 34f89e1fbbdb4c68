// The numbers of onnx.TensorProto.DataType, which the attribute `to` of Cast uses.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "graph/schema/schema.h"

namespace ds {

namespace {

constexpr std::pair<DType, int64_t> kNumbers[] = {
    {DType::kFloat32, 1},   {DType::kUInt8, 2},    {DType::kInt8, 3},    {DType::kUInt16, 4},
    {DType::kInt16, 5},     {DType::kInt32, 6},    {DType::kInt64, 7},   {DType::kBool, 9},
    {DType::kFloat16, 10},  {DType::kFloat64, 11}, {DType::kUInt32, 12}, {DType::kUInt64, 13},
    {DType::kBFloat16, 16}, {DType::kUInt4, 21},   {DType::kInt4, 22},   {DType::kUInt2, 25},
    {DType::kInt2, 26},
};

}  // namespace

int64_t OnnxTypeNumber(DType dtype) {
  for (const auto& [type, number] : kNumbers) {
    if (type == dtype) return number;
  }
  DS_CHECK(false) << "element type without an ONNX number";
  return 0;
}

absl::StatusOr<DType> DTypeFromOnnxTypeNumber(int64_t number) {
  for (const auto& [type, known] : kNumbers) {
    if (known == number) return type;
  }
  constexpr int64_t kString = 8;
  return absl::InvalidArgumentError(
      absl::StrCat("element type ", number, number == kString ? " (string)" : "",
                   " of onnx.TensorProto.DataType is not supported; use a "
                   "float, integer or bool type, float32 is 1 and int64 is 7"));
}

}  // namespace ds
