// The window of a transposed convolution with every default, auto_pad and output_shape resolved.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "graph/graph.h"

namespace ds {

struct TransposedWindow {
  std::vector<int64_t> strides;  // one a spatial axis, as all below; elements
  std::vector<int64_t> dilations;
  std::vector<int64_t> crop_begin;  // cut off the full result; known with the input's extent only
  std::vector<int64_t> crop_end;    // negative: so many elements more, which hold the bias alone
  std::vector<int64_t> output;      // spatial extents, kDynamicDim where the input's is
};

// Reads strides, dilations, pads, output_padding, output_shape and auto_pad of a ConvTranspose for
// a `kernel` over `spatial` extents (kDynamicDim allowed: crops are 0 there unless pads gives
// them). The full result has (extent - 1) * stride + (kernel - 1) * dilation + 1 elements. An odd
// element of what auto_pad or output_shape crops goes to the end for SAME_UPPER and to the
// beginning otherwise. InvalidArgument says which attribute is wrong and why.
absl::StatusOr<TransposedWindow> ResolveTransposedWindow(const Node& node,
                                                         absl::Span<const int64_t> kernel,
                                                         absl::Span<const int64_t> spatial);

}  // namespace ds
