// Scales of weights: symmetric, zero point 0, chosen from the values themselves.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "quant/affine.h"

namespace ds {

enum class WeightRangeMethod {
  kMinMax,  // scale = max|w| / type.max()
  // The fraction of that scale with the least squared error: of 161 from 1 to 1/32 in equal ratios,
  // and of 31 more about the best of them. Never worse than kMinMax.
  kMse,
};

struct WeightQuantOptions {
  int bits = 8;  // 2..8
  // Which axis of the tensor has scales of its own: output channels, 0 for Conv's
  // [M, C / groups, kH, kW]. kWholeTensor: one scale in all. With `group` the axis along which
  // groups run: input channels, 0 for MatMul's [K, N].
  int axis = 0;
  // Successive elements along `axis` that share a scale: 0 (none; a scale an index), 32, 64 or 128.
  int64_t group = 0;
  WeightRangeMethod method = WeightRangeMethod::kMinMax;
  // Leaves out the lowest code, so that -w has the code of w negated. Without it kMse may use that
  // code as well.
  bool narrow = true;
};

// `values` row-major, of `shape`. Where all of a channel or group is 0 its scale is 1. The result
// passes CheckParams. Errors, InvalidArgument: an option out of range, an axis that the shape has
// not, values that do not fill it, and NaN or Inf among them (how many, and the first one's
// channel).
absl::StatusOr<QuantParams> ChooseWeightParams(absl::Span<const float> values,
                                               absl::Span<const int64_t> shape,
                                               const WeightQuantOptions& options);

}  // namespace ds
