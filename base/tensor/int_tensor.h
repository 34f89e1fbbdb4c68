// Tensors of integers of 2 to 32 bits as plain numbers: packs and unpacks what is smaller than a
// byte (low bits first, as ONNX stores int4 and int2).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor/tensor.h"

namespace ds {

// Smallest and largest number of an integer type of 2 to 32 bits; InvalidArgument for another type
// (uint32 included: it does not fit).
struct IntRange {
  int32_t min = 0;
  int32_t max = 0;
};
absl::StatusOr<IntRange> RangeOfInts(DType dtype);

// Of `dtype` and `shape`, with `values` in row-major order. InvalidArgument for a type that
// RangeOfInts refuses, a number out of its range, or a count that does not fit the shape.
absl::StatusOr<Tensor> IntTensor(DType dtype, Shape shape, absl::Span<const int32_t> values);

// The elements, row-major. InvalidArgument for a type that RangeOfInts refuses.
absl::StatusOr<std::vector<int32_t>> IntValues(const Tensor& tensor);

}  // namespace ds
