// Integers that stand for real numbers: real = scale * (q - zero_point), as ONNX's QuantizeLinear
// and DequantizeLinear have it.
//
//   q = clamp(round_half_to_even(real / scale) + zero_point, type.min(), type.max())
//
// in fp32, one rounding at a time, so that fake-quant, the integer reference and ONNX Runtime
// agree. All functions are pure and may be called from any thread; they assume the default
// floating-point environment (round to nearest, denormals kept).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor/tensor.h"

namespace ds {

struct QuantType {
  int bits = 8;  // 2..8
  bool is_signed = true;
  // Signed only: leaves out the lowest code, so that codes are symmetric about 0 (weights).
  bool narrow = false;

  int32_t min() const { return is_signed ? -(1 << (bits - 1)) + (narrow ? 1 : 0) : 0; }
  int32_t max() const { return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1; }
  bool operator==(const QuantType&) const = default;
};

// InvalidArgument for bits outside 2..8, or a narrow unsigned type.
absl::Status CheckType(const QuantType& type);

// Of one tensor. One scale and zero point for all of it (axis kWholeTensor), one for each index
// along `axis`, or with `group` > 0 one for each `group` successive elements along `axis` (the last
// group may be shorter) and each index along the other axes, in the order of ONNX's blocked
// quantisation (opset 21): the scale tensor's shape is the tensor's with that axis replaced by
// ceil(extent / group).
struct QuantParams {
  static constexpr int kWholeTensor = -1;

  QuantType type;
  int axis = kWholeTensor;
  int64_t group = 0;
  std::vector<float> scales;  // finite, > 0
  std::vector<int32_t>
      zero_points;  // as many, in type.min()..type.max(): 0 is exactly representable

  bool operator==(const QuantParams&) const = default;
};

// Scale and zero point for reals in [low, high] (widened to hold 0).
//   Signed: symmetric, zero point 0, scale = max(|low|, |high|) / type.max().
//   Unsigned: asymmetric, scale = (high - low) / type.max(), zero point nearest to -low / scale.
// A range of [0, 0] has scale 1. A scale is at least the least normal float (a runtime that flushes
// denormals would divide by zero), and small enough that every code of the type stands for a finite
// number. InvalidArgument for a type that CheckType refuses, NaN, Inf, or low > high.
absl::StatusOr<QuantParams> ParamsForRange(const QuantType& type, float low, float high);

// Scale of a symmetric type whose last code shall stand for `limit` (finite, >= 0): limit /
// type.max(), within the bounds above; 1 for a limit of 0.
float SymmetricScale(const QuantType& type, float limit);

// InvalidArgument names what does not fit `shape` (type, axis, group, number of scales, a scale
// that is not finite and positive, a zero point out of range).
absl::Status CheckParams(const QuantParams& params, absl::Span<const int64_t> shape);
// Shape of the scale tensor: [] for the whole tensor, [extent] for an axis, and as above for
// groups. The axis must be one of the shape's.
Shape ScaleShape(const QuantParams& params, absl::Span<const int64_t> shape);

// Row-major values of `shape`; out.size() == values.size() == the shape's number of elements.
// `params` must pass CheckParams: what does not fit CHECK-fails. NaN becomes the zero point, +-Inf
// the last code on its side.
void QuantizeValues(absl::Span<const float> values, absl::Span<const int64_t> shape,
                    const QuantParams& params, absl::Span<int32_t> out);
// Codes need not lie within the type (|code| <= 2^23).
void DequantizeValues(absl::Span<const int32_t> codes, absl::Span<const int64_t> shape,
                      const QuantParams& params, absl::Span<float> out);
// Quantised and dequantised again. `out` may be `values` themselves.
void FakeQuantize(absl::Span<const float> values, absl::Span<const int64_t> shape,
                  const QuantParams& params, absl::Span<float> out);

}  // namespace ds
