#include "base/tensor/int_tensor.h"

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

bool IsSigned(DType dtype) {
  return dtype == DType::kInt2 || dtype == DType::kInt4 || dtype == DType::kInt8 ||
         dtype == DType::kInt16 || dtype == DType::kInt32;
}

bool IsUnsigned(DType dtype) {
  return dtype == DType::kUInt2 || dtype == DType::kUInt4 || dtype == DType::kUInt8 ||
         dtype == DType::kUInt16;
}

}  // namespace

absl::StatusOr<IntRange> RangeOfInts(DType dtype) {
  const int bits = BitWidth(dtype);
  if (IsUnsigned(dtype)) return IntRange{0, static_cast<int32_t>((int64_t{1} << bits) - 1)};
  if (IsSigned(dtype)) {
    const int64_t half = int64_t{1} << (bits - 1);
    return IntRange{static_cast<int32_t>(-half), static_cast<int32_t>(half - 1)};
  }
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(Name(dtype)), " is no integer type that fits 32 bits with a sign"));
}

absl::StatusOr<Tensor> IntTensor(DType dtype, Shape shape, absl::Span<const int32_t> values) {
  DS_ASSIGN_OR_RETURN(const IntRange range, RangeOfInts(dtype));
  DS_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Create(dtype, std::move(shape)));
  if (tensor.num_elements() != static_cast<int64_t>(values.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        values.size(), " integers do not fill the shape ", ShapeString(tensor.shape())));
  }
  const size_t bits = static_cast<size_t>(BitWidth(dtype));
  std::byte* out = tensor.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] < range.min || values[i] > range.max) {
      return absl::InvalidArgumentError(absl::StrCat(values[i], " is outside ", range.min, " to ",
                                                     range.max, " of ", std::string(Name(dtype))));
    }
    if (bits >= 8) {
      // Little-endian: the low bytes come first.
      std::memcpy(out + i * (bits / 8), &values[i], bits / 8);
    } else {
      const size_t bit = i * bits;
      const uint32_t code = static_cast<uint32_t>(values[i]) & ((1u << bits) - 1);
      out[bit / 8] |= static_cast<std::byte>(code << (bit % 8));
    }
  }
  return tensor;
}

absl::StatusOr<std::vector<int32_t>> IntValues(const Tensor& tensor) {
  DS_RETURN_IF_ERROR(RangeOfInts(tensor.dtype()).status());
  const size_t bits = static_cast<size_t>(BitWidth(tensor.dtype()));
  const bool is_signed = IsSigned(tensor.dtype());
  std::vector<int32_t> values(static_cast<size_t>(tensor.num_elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t code = 0;
    if (bits >= 8) {
      std::memcpy(&code, tensor.data() + i * (bits / 8), bits / 8);
    } else {
      const size_t bit = i * bits;
      code = std::to_integer<uint32_t>(tensor.data()[bit / 8]) >> (bit % 8);
    }
    // To the top and back: cuts what lies above the code and carries its sign.
    code <<= 32 - bits;
    values[i] = is_signed ? static_cast<int32_t>(code) >> (32 - bits)
                          : static_cast<int32_t>(code >> (32 - bits));
  }
  return values;
}

}  // namespace ds
