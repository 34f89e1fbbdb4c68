#include "quant/packed_codes.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// An element type that codes are stored in.
struct Storage {
  DType dtype;
  int bits;
  bool is_signed;
};

constexpr Storage kStorages[] = {
    {DType::kInt2, 2, true},   {DType::kUInt2, 2, false}, {DType::kInt4, 4, true},
    {DType::kUInt4, 4, false}, {DType::kInt8, 8, true},   {DType::kUInt8, 8, false},
};

}  // namespace

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
  const DType dtype = StorageType(type);
  DS_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Create(dtype, Shape(shape.begin(), shape.end())));
  const int bits = BitWidth(dtype), per_byte = 8 / bits;
  const uint32_t mask = (1u << bits) - 1;
  auto* bytes = reinterpret_cast<uint8_t*>(tensor.mutable_data());
  for (int64_t i = 0; i < count; ++i) {
    if (codes[i] < type.min() || codes[i] > type.max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("code ", i, " is ", codes[i], ", not in ", type.min(), "..", type.max()));
    }
    const uint32_t code = static_cast<uint32_t>(codes[i]) & mask;
    bytes[i / per_byte] |= static_cast<uint8_t>(code << (i % per_byte * bits));
  }
  return tensor;
}

absl::StatusOr<std::vector<int32_t>> UnpackCodes(const Tensor& tensor) {
  const Storage* storage = nullptr;
  for (const Storage& known : kStorages) {
    if (known.dtype == tensor.dtype()) storage = &known;
  }
  if (storage == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("a tensor of ", Name(tensor.dtype()),
                     " holds no codes: they are int8, uint8, int4, uint4, int2 or uint2"));
  }
  const int bits = storage->bits, per_byte = 8 / bits;
  const int32_t mask = (1 << bits) - 1;
  const int32_t sign = storage->is_signed ? 1 << (bits - 1) : 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(tensor.data());
  std::vector<int32_t> codes(static_cast<size_t>(tensor.num_elements()));
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    const int32_t code = (bytes[i / per_byte] >> (i % per_byte * bits)) & mask;
    codes[i] = (code ^ sign) - sign;  // extends the sign
  }
  return codes;
}

}  // namespace ds
