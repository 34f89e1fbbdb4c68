// Codes as stored in files and tensors: one byte each, or packed 2 or 4 to a byte, low bits first,
// as ONNX stores INT4 and INT2 and DType says. A code of 3 bits takes 4, one of 5 to 7 bits
// takes 8.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor/tensor.h"
#include "quant/affine.h"

namespace ds {

// int2 / uint2 for 2 bits, int4 / uint4 for 3 and 4, int8 / uint8 for 5 to 8; `type` must pass
// CheckType.
DType StorageType(const QuantType& type);

// A tensor of `shape` and of StorageType(type). Spare bits of the last byte are 0. InvalidArgument
// for a type that CheckType refuses, a number of codes that does not fit the shape, and a code
// outside type.min()..type.max() (which, and where); ResourceExhausted for want of memory.
absl::StatusOr<Tensor> PackCodes(absl::Span<const int32_t> codes, absl::Span<const int64_t> shape,
                                 const QuantType& type);
// All codes, row-major. InvalidArgument for a tensor of another element type.
absl::StatusOr<std::vector<int32_t>> UnpackCodes(const Tensor& tensor);

}  // namespace ds
