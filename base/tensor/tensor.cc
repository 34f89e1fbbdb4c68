#include "base/tensor/tensor.h"

#include <cstdlib>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status.h"
#include "base/tensor/float16.h"

namespace ds {
namespace {

constexpr size_t kAlignment = 64;

std::shared_ptr<std::byte> Allocate(int64_t size_bytes) {
  const size_t size = (static_cast<size_t>(size_bytes) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, size == 0 ? kAlignment : size);
  if (memory == nullptr) return nullptr;
  std::memset(memory, 0, size);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory),
                                    [](std::byte* p) { std::free(p); });
}

template <typename T>
void Convert(const std::byte* from, absl::Span<float> to) {
  const T* values = reinterpret_cast<const T*>(from);
  for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(values[i]);
}

}  // namespace

absl::StatusOr<int64_t> NumElements(absl::Span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t extent : shape) {
    if (extent < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("negative extent in shape ", ShapeString(shape)));
    }
    // Eight bytes an element must still fit, so that sizes in bytes cannot overflow either.
    if (__builtin_mul_overflow(count, extent, &count) ||
        count > std::numeric_limits<int64_t>::max() / 8) {
      return absl::InvalidArgumentError(absl::StrCat("shape ", ShapeString(shape), " overflows"));
    }
  }
  return count;
}

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[",
                      absl::StrJoin(shape, ", ",
                                    [](std::string* out, int64_t extent) {
                                      absl::StrAppend(
                                          out, extent == kDynamicDim ? "?" : absl::StrCat(extent));
                                    }),
                      "]");
}

Tensor::Tensor(DType dtype, Shape shape) {
  absl::StatusOr<Tensor> made = Create(dtype, std::move(shape));
  DS_CHECK(made.ok()) << made.status().message();
  *this = *std::move(made);
}

absl::StatusOr<Tensor> Tensor::Create(DType dtype, Shape shape) {
  DS_ASSIGN_OR_RETURN(const int64_t count, ds::NumElements(shape));
  Tensor tensor;
  tensor.data_ = Allocate(ByteSize(dtype, count));
  if (tensor.data_ == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("out of memory for a ", Name(dtype), " tensor of shape ", ShapeString(shape)));
  }
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.num_elements_ = count;
  return tensor;
}

Tensor Tensor::Wrap(DType dtype, Shape shape, std::byte* bytes, std::shared_ptr<void> owner) {
  absl::StatusOr<int64_t> count = ds::NumElements(shape);
  DS_CHECK(count.ok()) << count.status().message();
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.shape_ = std::move(shape);
  tensor.num_elements_ = *count;
  tensor.data_ = std::shared_ptr<std::byte>(std::move(owner), bytes);
  return tensor;
}

Tensor Tensor::FromBytes(DType dtype, Shape shape, const void* bytes, size_t count) {
  Tensor tensor(dtype, std::move(shape));
  DS_CHECK(static_cast<int64_t>(count) == tensor.num_elements_)
      << count << " values do not fill shape " << ShapeString(tensor.shape_);
  if (count > 0) std::memcpy(tensor.data_.get(), bytes, static_cast<size_t>(tensor.size_bytes()));
  return tensor;
}

absl::StatusOr<Tensor> Tensor::Reshape(Shape shape) const {
  DS_ASSIGN_OR_RETURN(const int64_t count, ds::NumElements(shape));
  if (count != num_elements_) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot reshape ", ShapeString(shape_), " to ", ShapeString(shape)));
  }
  Tensor tensor = *this;
  tensor.shape_ = std::move(shape);
  return tensor;
}

Tensor Tensor::Clone() const {
  Tensor tensor(dtype_, shape_);
  if (num_elements_ > 0) {
    std::memcpy(tensor.data_.get(), data_.get(), static_cast<size_t>(size_bytes()));
  }
  return tensor;
}

absl::StatusOr<Tensor> Tensor::ToFloat32() const {
  if (dtype_ == DType::kFloat32) return *this;
  DS_ASSIGN_OR_RETURN(Tensor result, Create(DType::kFloat32, shape_));
  absl::Span<float> to = result.mutable_span<float>();
  const std::byte* from = data_.get();
  switch (dtype_) {
    case DType::kFloat64:
      Convert<double>(from, to);
      break;
    case DType::kInt8:
      Convert<int8_t>(from, to);
      break;
    case DType::kUInt8:
      Convert<uint8_t>(from, to);
      break;
    case DType::kBool:
      Convert<uint8_t>(from, to);
      break;
    case DType::kInt16:
      Convert<int16_t>(from, to);
      break;
    case DType::kUInt16:
      Convert<uint16_t>(from, to);
      break;
    case DType::kInt32:
      Convert<int32_t>(from, to);
      break;
    case DType::kUInt32:
      Convert<uint32_t>(from, to);
      break;
    case DType::kInt64:
      Convert<int64_t>(from, to);
      break;
    case DType::kUInt64:
      Convert<uint64_t>(from, to);
      break;
    case DType::kFloat16:
      Convert<Float16>(from, to);
      break;
    case DType::kBFloat16:
      Convert<BFloat16>(from, to);
      break;
    default:
      return absl::UnimplementedError(
          absl::StrCat("no conversion of ", Name(dtype_), " to float32"));
  }
  return result;
}

void Tensor::CheckType(DType wanted) const {
  DS_CHECK(dtype_ == wanted) << "tensor holds " << Name(dtype_) << ", not " << Name(wanted);
}

}  // namespace ds
