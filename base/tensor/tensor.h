// A host tensor: 64-byte-aligned bytes in row-major order, a shape and an element type. A copy
// shares the bytes (like a shared_ptr); Clone() copies them. Used for initialisers, files and data
// batches; training arithmetic happens in LibTorch, the edge engine's in planned buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor/dtype.h"

namespace ds {

// Extents, outermost first. A graph value may have kDynamicDim where the extent is known only at
// run time; a Tensor never has.
using Shape = std::vector<int64_t>;
inline constexpr int64_t kDynamicDim = -1;

// Product of the extents (1 for a scalar); InvalidArgument if one is negative or the product
// overflows.
absl::StatusOr<int64_t> NumElements(absl::Span<const int64_t> shape);
// "[1, 3, ?, 224]"
std::string ShapeString(absl::Span<const int64_t> shape);

class Tensor {
 public:
  // No bytes, shape [0], float32.
  Tensor() = default;
  // Zero-filled. CHECK-fails on a shape that NumElements refuses: check untrusted shapes with
  // Create.
  Tensor(DType dtype, Shape shape);

  // Zero-filled; InvalidArgument for a bad shape, ResourceExhausted if it cannot be allocated.
  static absl::StatusOr<Tensor> Create(DType dtype, Shape shape);
  // Shares `bytes` (ByteSize(dtype, n) of them), keeping `owner` (a mapped file, say) alive.
  static Tensor Wrap(DType dtype, Shape shape, std::byte* bytes, std::shared_ptr<void> owner);
  // Copies `values`; CHECK-fails if their number does not fit the shape.
  template <typename T>
  static Tensor From(Shape shape, const std::vector<T>& values);
  template <typename T>
  static Tensor Scalar(T value) {
    return From<T>({}, std::vector<T>{value});
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t dim(int i) const { return shape_[i < 0 ? i + rank() : i]; }
  int64_t num_elements() const { return num_elements_; }
  int64_t size_bytes() const { return ByteSize(dtype_, num_elements_); }

  const std::byte* data() const { return data_.get(); }
  std::byte* mutable_data() { return data_.get(); }
  absl::Span<const std::byte> bytes() const { return {data(), static_cast<size_t>(size_bytes())}; }

  // All elements. CHECK-fails if T is not the tensor's type.
  template <typename T>
  absl::Span<const T> span() const;
  template <typename T>
  absl::Span<T> mutable_span();

  // The same bytes under another shape of as many elements.
  absl::StatusOr<Tensor> Reshape(Shape shape) const;
  Tensor Clone() const;
  // Elements converted to float32 (from any float or integer type of 8 bits or more).
  absl::StatusOr<Tensor> ToFloat32() const;

 private:
  void CheckType(DType wanted) const;
  static Tensor FromBytes(DType dtype, Shape shape, const void* bytes, size_t count);

  DType dtype_ = DType::kFloat32;
  Shape shape_ = {0};
  int64_t num_elements_ = 0;
  std::shared_ptr<std::byte> data_;
};

template <typename T>
Tensor Tensor::From(Shape shape, const std::vector<T>& values) {
  if constexpr (std::is_same_v<T, bool>) {
    std::vector<uint8_t> bytes(values.begin(), values.end());
    return FromBytes(DType::kBool, std::move(shape), bytes.data(), bytes.size());
  } else {
    return FromBytes(DTypeOf<T>::value, std::move(shape), values.data(), values.size());
  }
}

template <typename T>
absl::Span<const T> Tensor::span() const {
  CheckType(DTypeOf<T>::value);
  // Not a brace list: for bool it would pick the initializer_list constructor.
  return absl::Span<const T>(reinterpret_cast<const T*>(data_.get()),
                             static_cast<size_t>(num_elements_));
}

template <typename T>
absl::Span<T> Tensor::mutable_span() {
  CheckType(DTypeOf<T>::value);
  return absl::Span<T>(reinterpret_cast<T*>(data_.get()), static_cast<size_t>(num_elements_));
}

}  // namespace ds
