#include "comm/reduce.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ds {
namespace {

template <typename T>
void Reduce(T* into, const T* from, int64_t count, ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      for (int64_t i = 0; i < count; ++i) into[i] = static_cast<T>(into[i] + from[i]);
      return;
    case ReduceOp::kMax:
      for (int64_t i = 0; i < count; ++i) into[i] = std::max(into[i], from[i]);
      return;
    case ReduceOp::kMin:
      for (int64_t i = 0; i < count; ++i) into[i] = std::min(into[i], from[i]);
      return;
  }
}

template <typename T>
void ReduceBytes(std::byte* into, const std::byte* from, int64_t count, ReduceOp op) {
  Reduce(reinterpret_cast<T*>(into), reinterpret_cast<const T*>(from), count, op);
}

}  // namespace

absl::Status CheckReducible(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kFloat64:
    case DType::kInt32:
    case DType::kInt64:
    case DType::kUInt8:
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(absl::StrCat("all-reduce does not take ", Name(dtype)));
  }
}

void ReduceInto(std::byte* into, const std::byte* from, int64_t count, DType dtype, ReduceOp op) {
  switch (dtype) {
    case DType::kFloat32:
      return ReduceBytes<float>(into, from, count, op);
    case DType::kFloat64:
      return ReduceBytes<double>(into, from, count, op);
    case DType::kInt32:
      return ReduceBytes<int32_t>(into, from, count, op);
    case DType::kInt64:
      return ReduceBytes<int64_t>(into, from, count, op);
    case DType::kUInt8:
      return ReduceBytes<uint8_t>(into, from, count, op);
    default:
      DS_CHECK(false) << "not reducible: " << Name(dtype);
  }
}

}  // namespace ds
