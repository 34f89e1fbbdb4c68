// The sliding window of convolutions and pools with every default and auto_pad resolved, so that
// shape inference, the executors and the cost model agree on what the attributes mean.
#pragma once

#include <string>
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

// The greatest number that an attribute of a window may hold: it bounds every sum and product of
// them, whatever a file claims.
inline constexpr int64_t kMaxWindowNumber = int64_t{1} << 20;

// The ints attribute `key`, `count` times `fallback` where it is absent. InvalidArgument for
// another count, or a number outside `least` to kMaxWindowNumber.
absl::StatusOr<std::vector<int64_t>> WindowInts(const Node& node, const std::string& key,
                                                size_t count, int64_t fallback, int64_t least);

// InvalidArgument where `kernel` has not one extent for each of `spatial_axes`, or one outside 1 to
// kMaxWindowNumber.
absl::Status CheckKernel(absl::Span<const int64_t> kernel, size_t spatial_axes);

// Reads strides, dilations, pads, auto_pad and ceil_mode of `node` for a window of `kernel` over
// `spatial` extents (kDynamicDim allowed). A last window that ceil_mode would start in the padding
// on the right is dropped, as PyTorch and ONNX Runtime do. InvalidArgument says which attribute is
// wrong and why.
absl::StatusOr<Window> ResolveWindow(const Node& node, absl::Span<const int64_t> kernel,
                                     absl::Span<const int64_t> spatial);

}  // namespace ds
