#include "graph/onnx/tensor_proto.h"

#include <bit>
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/tensor/untouched.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

// Elements that a typed field must hold: sub-byte types are packed, a byte an element of
// int32_data.
int64_t FieldCount(DType dtype, int64_t count) {
  return BitWidth(dtype) < 8 ? ByteSize(dtype, count) : count;
}

absl::Status CheckCount(absl::string_view field, int64_t found, int64_t wanted,
                        const Shape& shape) {
  if (found == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("its shape ", ShapeString(shape), " needs ",
                                                 wanted, " values, but ", field, " has ", found,
                                                 "; the file is damaged"));
}

// Copies a typed field into tensors of element type T; refuses values that T cannot hold.
template <typename T, typename Field>
absl::StatusOr<Tensor> FromField(DType dtype, const Shape& shape, int64_t count, const Field& field,
                                 absl::string_view field_name) {
  DS_RETURN_IF_ERROR(CheckCount(field_name, field.size(), FieldCount(dtype, count), shape));
  DS_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Create(dtype, shape));
  std::byte* out = tensor.mutable_data();
  for (int i = 0; i < field.size(); ++i) {
    if constexpr (std::is_integral_v<T>) {
      // Both readings of a byte are in use: int32_data holds int8 as -1 and packed nibbles as 255.
      const bool fits =
          std::in_range<T>(field[i]) || (BitWidth(dtype) < 8 && std::in_range<int8_t>(field[i]));
      if (!fits) {
        return absl::InvalidArgumentError(absl::StrCat("value ", field[i], " at index ", i, " of ",
                                                       field_name, " is out of range for ",
                                                       std::string(Name(dtype))));
      }
    }
    const T value = static_cast<T>(field[i]);
    std::memcpy(out + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  return tensor;
}

absl::StatusOr<Tensor> FromTypedField(const onnx::TensorProto& proto, DType dtype,
                                      const Shape& shape, int64_t count) {
  constexpr char kInt32Data[] = "int32_data";
  const auto& ints = proto.int32_data();
  switch (dtype) {
    case DType::kFloat32:
      return FromField<float>(dtype, shape, count, proto.float_data(), "float_data");
    case DType::kFloat64:
      return FromField<double>(dtype, shape, count, proto.double_data(), "double_data");
    case DType::kInt64:
      return FromField<int64_t>(dtype, shape, count, proto.int64_data(), "int64_data");
    case DType::kUInt64:
      return FromField<uint64_t>(dtype, shape, count, proto.uint64_data(), "uint64_data");
    case DType::kUInt32:
      return FromField<uint32_t>(dtype, shape, count, proto.uint64_data(), "uint64_data");
    case DType::kInt32:
      return FromField<int32_t>(dtype, shape, count, ints, kInt32Data);
    case DType::kInt16:
      return FromField<int16_t>(dtype, shape, count, ints, kInt32Data);
    case DType::kInt8:
      return FromField<int8_t>(dtype, shape, count, ints, kInt32Data);
    case DType::kUInt16:
    case DType::kFloat16:
    case DType::kBFloat16:  // the float's bits
      return FromField<uint16_t>(dtype, shape, count, ints, kInt32Data);
    default:
      return FromField<uint8_t>(dtype, shape, count, ints, kInt32Data);
  }
}

absl::StatusOr<Tensor> FromRawData(absl::string_view raw, DType dtype, const Shape& shape,
                                   int64_t count, bool read) {
  const int64_t needed = ByteSize(dtype, count);
  if (static_cast<int64_t>(raw.size()) != needed) {
    return absl::InvalidArgumentError(absl::StrCat("its shape ", ShapeString(shape), " needs ",
                                                   needed, " bytes, but raw_data has ", raw.size(),
                                                   "; the file is damaged"));
  }
  if (!read && needed > kUnread) return UntouchedTensor(dtype, shape);
  DS_ASSIGN_OR_RETURN(Tensor tensor, Tensor::Create(dtype, shape));
  if (needed > 0) std::memcpy(tensor.mutable_data(), raw.data(), raw.size());
  return tensor;
}

absl::StatusOr<ExternalRange> RangeFromProto(const onnx::TensorProto& proto) {
  ExternalRange range;
  std::set<std::string> seen;
  for (const auto& entry : proto.external_data()) {
    if (!seen.insert(entry.key()).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("external_data names ", Quoted(entry.key()), " twice"));
    }
    if (entry.key() == "location") {
      range.location = entry.value();
    } else if (entry.key() == "offset" || entry.key() == "length") {
      int64_t number = 0;
      if (!absl::SimpleAtoi(entry.value(), &number) || number < 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "external_data ", entry.key(), " ", Quoted(entry.value()), " is not a byte count"));
      }
      (entry.key() == "offset" ? range.offset : range.length) = number;
    }
  }
  return range;
}

int CountFields(const onnx::TensorProto& proto) {
  return proto.has_raw_data() + !proto.float_data().empty() + !proto.double_data().empty() +
         !proto.int32_data().empty() + !proto.int64_data().empty() + !proto.uint64_data().empty() +
         !proto.string_data().empty();
}

// One field may hold the data; a second is either garbage or an attempt to confuse two readers.
absl::Status CheckOneField(const onnx::TensorProto& proto) {
  if (CountFields(proto) <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "its data is given in more than one field; the file is damaged");
}

// Any byte but 0 is true in a file; a bool of ours is 0 or 1.
void NormalizeBools(Tensor& tensor) {
  for (int64_t i = 0; i < tensor.num_elements(); ++i) {
    std::byte& byte = tensor.mutable_data()[i];
    byte = byte == std::byte{0} ? std::byte{0} : std::byte{1};
  }
}

}  // namespace

absl::StatusOr<Tensor> TensorFromProto(const onnx::TensorProto& proto, ExternalData& external) {
  DS_ASSIGN_OR_RETURN(const DType dtype, DTypeFromOnnx(proto.data_type()));
  if (proto.has_segment()) return absl::UnimplementedError("tensors in segments are not supported");
  const Shape shape(proto.dims().begin(), proto.dims().end());
  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  DS_RETURN_IF_ERROR(CheckOneField(proto));
  absl::StatusOr<Tensor> tensor;
  if (proto.data_location() == onnx::TensorProto::EXTERNAL) {
    DS_ASSIGN_OR_RETURN(const ExternalRange range, RangeFromProto(proto));
    tensor = external.Read(range, dtype, shape);
  } else if (proto.has_raw_data()) {
    tensor = FromRawData(proto.raw_data(), dtype, shape, count, /*read=*/true);
  } else {
    tensor = FromTypedField(proto, dtype, shape, count);
  }
  if (tensor.ok() && dtype == DType::kBool) NormalizeBools(*tensor);
  return tensor;
}

absl::StatusOr<Tensor> TensorFromProto(const onnx::TensorProto& proto, absl::string_view raw,
                                       bool read) {
  DS_ASSIGN_OR_RETURN(const DType dtype, DTypeFromOnnx(proto.data_type()));
  const Shape shape(proto.dims().begin(), proto.dims().end());
  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  const bool elsewhere = proto.data_location() == onnx::TensorProto::EXTERNAL ||
                         proto.has_segment() || CountFields(proto) > 0;
  if (elsewhere) {
    return absl::InvalidArgumentError(
        "its data is given in more than one place; the file is damaged");
  }
  DS_ASSIGN_OR_RETURN(Tensor tensor, FromRawData(raw, dtype, shape, count, read));
  if (dtype == DType::kBool) NormalizeBools(tensor);
  return tensor;
}

void TensorToProto(const Tensor& tensor, onnx::TensorProto* proto) {
  for (const int64_t extent : tensor.shape()) proto->add_dims(extent);
  proto->set_data_type(static_cast<int32_t>(OnnxTypeNumber(tensor.dtype())));
  const absl::Span<const std::byte> bytes = tensor.bytes();
  if (bytes.empty()) {
    proto->set_raw_data("");
  } else {
    proto->set_raw_data(bytes.data(), bytes.size());
  }
}

}  // namespace ds::onnx_io
