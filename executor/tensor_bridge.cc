// Host tensors to LibTorch and back.
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "base/tensor/int_tensor.h"
#include "executor/graph_module.h"
#include "executor/kernel.h"

namespace ds {

namespace {

absl::StatusOr<DType> HostType(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return DType::kFloat32;
    case at::kDouble:
      return DType::kFloat64;
    case at::kHalf:
      return DType::kFloat16;
    case at::kBFloat16:
      return DType::kBFloat16;
    case at::kChar:
      return DType::kInt8;
    case at::kByte:
      return DType::kUInt8;
    case at::kShort:
      return DType::kInt16;
    case at::kUInt16:
      return DType::kUInt16;
    case at::kUInt32:
      return DType::kUInt32;
    case at::kUInt64:
      return DType::kUInt64;
    case at::kInt:
      return DType::kInt32;
    case at::kLong:
      return DType::kInt64;
    case at::kBool:
      return DType::kBool;
    default:
      return absl::UnimplementedError(
          absl::StrCat("a LibTorch tensor of type ", c10::toString(type),
                       " has no host form; convert it to a plain type first"));
  }
}

}  // namespace

at::Tensor ToTorch(const Tensor& tensor) {
  const auto type = executor::TorchType(tensor.dtype());
  DS_CHECK(type.ok()) << type.status();
  if (tensor.num_elements() == 0) return at::empty(tensor.shape(), at::TensorOptions(*type));
  if (BitWidth(tensor.dtype()) < 8) {
    const auto values = IntValues(tensor);
    DS_CHECK(values.ok()) << values.status();
    return at::tensor(*values, at::TensorOptions(*type)).reshape(tensor.shape());
  }
  // The deleter's copy of the host tensor keeps the bytes alive.
  auto owner = std::make_shared<Tensor>(tensor);
  return at::from_blob(
      owner->mutable_data(), tensor.shape(), [owner](void*) {}, at::TensorOptions(*type));
}

absl::StatusOr<Tensor> FromTorch(const at::Tensor& tensor) {
  DS_ASSIGN_OR_RETURN(const DType dtype, HostType(tensor.scalar_type()));
  const at::Tensor plain = tensor.detach().to(at::kCPU).contiguous();
  DS_ASSIGN_OR_RETURN(Tensor out, Tensor::Create(dtype, plain.sizes().vec()));
  if (out.size_bytes() > 0) {
    std::memcpy(out.mutable_data(), plain.const_data_ptr(), static_cast<size_t>(out.size_bytes()));
  }
  return out;
}

}  // namespace ds
