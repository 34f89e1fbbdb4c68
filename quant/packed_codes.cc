#include "quant/packed_codes.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tensor/int_tensor.h"

namespace ds {
DType StorageType(const QuantType& type) {
  if (type.bits == 2) return type.is_signed ? DType::kInt2 : DType::kUInt2;
  if (type.bits <= 4) return type.is_signed ? DType::kInt4 : DType::kUInt4;
  return type.is_signed ? DType::kInt8 : DType::kUInt8;
}

absl::StatusOr<Tensor> PackCodes(absl::Span<const int32_t> codes, absl::Span<const int64_t> shape,
                                 const QuantType& type) {
  DS_RETURN_IF_ERROR(CheckType(type));
  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  if (static_cast<int64_t>(codes.size()) != count) {
    return absl::InvalidArgumentError(
        absl::StrCat(codes.size(), " codes do not fill shape ", ShapeString(shape)));
  }
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] < type.min() || codes[i] > type.max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("code ", i, " is ", codes[i], ", not in ", type.min(), "..", type.max()));
    }
  }
  return IntTensor(StorageType(type), Shape(shape.begin(), shape.end()), codes);
}

absl::StatusOr<std::vector<int32_t>> UnpackCodes(const Tensor& tensor) {
  if (BitWidth(tensor.dtype()) > 8 || !RangeOfInts(tensor.dtype()).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor of ", Name(tensor.dtype()),
                     " holds no codes: they are int8, uint8, int4, uint4, int2 or uint2"));
  }
  return IntValues(tensor);
}

}  // namespace ds
