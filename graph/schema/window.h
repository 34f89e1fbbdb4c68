// The sliding window of convolutions and pools with every default and auto_pad resolved, so that
// shape inference, the executors and the cost model agree on what the attributes mean.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "graph/graph.h"

namespace ds {

struct Window {
  std::vector<int64_t> kernel;  // one a spatial axis, as all below; elements
  std::vector<int64_t> strides;
  std::vector<int64_t> dilations;
  std::vector<int64_t> pad_begin;  // 0 on an axis of unknown extent under auto_pad SAME_*
  std::vector<int64_t> pad_end;
  std::vector<int64_t> output;  // spatial extents of the result, kDynamicDim where the input's is
};

// Reads strides, dilations, pads, auto_pad and ceil_mode of `node` for a window of `kernel` over
// `spatial` extents (kDynamicDim allowed). A last window that ceil_mode would start in the padding
// on the right is dropped, as PyTorch and ONNX Runtime do. InvalidArgument says which attribute is
// wrong and why.
absl::StatusOr<Window> ResolveWindow(const Node& node, absl::Span<const int64_t> kernel,
                                     absl::Span<const int64_t> spatial);

}  // namespace ds
