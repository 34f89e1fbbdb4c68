#include "base/tensor/dtype.h"

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

struct DTypeRow {
  DType dtype;
  int bits;
  bool floating;
  absl::string_view name;
};

constexpr DTypeRow kRows[] = {
    {DType::kFloat32, 32, true, "float32"}, {DType::kFloat64, 64, true, "float64"},
    {DType::kFloat16, 16, true, "float16"}, {DType::kBFloat16, 16, true, "bfloat16"},
    {DType::kInt8, 8, false, "int8"},       {DType::kUInt8, 8, false, "uint8"},
    {DType::kInt16, 16, false, "int16"},    {DType::kUInt16, 16, false, "uint16"},
    {DType::kInt32, 32, false, "int32"},    {DType::kUInt32, 32, false, "uint32"},
    {DType::kInt64, 64, false, "int64"},    {DType::kUInt64, 64, false, "uint64"},
    {DType::kBool, 8, false, "bool"},       {DType::kInt4, 4, false, "int4"},
    {DType::kUInt4, 4, false, "uint4"},     {DType::kInt2, 2, false, "int2"},
    {DType::kUInt2, 2, false, "uint2"},
};

constexpr const DTypeRow& Row(DType dtype) { return kRows[static_cast<size_t>(dtype)]; }

}  // namespace

int BitWidth(DType dtype) { return Row(dtype).bits; }

int64_t ByteSize(DType dtype, int64_t count) {
  const int bits = BitWidth(dtype);
  return bits >= 8 ? count * (bits / 8) : (count + (8 / bits) - 1) / (8 / bits);
}

bool IsFloatingPoint(DType dtype) { return Row(dtype).floating; }

absl::string_view Name(DType dtype) { return Row(dtype).name; }

absl::StatusOr<DType> DTypeFromName(absl::string_view name) {
  for (const DTypeRow& row : kRows) {
    if (row.name == name) return row.dtype;
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown element type '", name, "'"));
}

}  // namespace ds
