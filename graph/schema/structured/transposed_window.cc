#include "graph/schema/structured/transposed_window.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/window.h"

namespace ds {

namespace {

// `output` extents wanted of a full result of `full`: what is too much goes from both ends.
void CropTo(TransposedWindow& window, size_t axis, int64_t full, int64_t padding, int64_t output,
            bool more_at_begin) {
  const int64_t total = std::max<int64_t>(full + padding - output, 0);
  const int64_t smaller = total / 2;
  window.crop_begin[axis] = more_at_begin ? total - smaller : smaller;
  window.output[axis] = output;
  window.crop_end[axis] = full - window.crop_begin[axis] - output;
}

}  // namespace

absl::StatusOr<TransposedWindow> ResolveTransposedWindow(const Node& node,
                                                         absl::Span<const int64_t> kernel,
                                                         absl::Span<const int64_t> spatial) {
  const size_t rank = spatial.size();
  DS_RETURN_IF_ERROR(CheckKernel(kernel, rank));
  TransposedWindow window;
  DS_ASSIGN_OR_RETURN(window.strides, WindowInts(node, "strides", rank, 1, 1));
  DS_ASSIGN_OR_RETURN(window.dilations, WindowInts(node, "dilations", rank, 1, 1));
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> pads, WindowInts(node, "pads", 2 * rank, 0, 0));
  DS_ASSIGN_OR_RETURN(const auto more, WindowInts(node, "output_padding", rank, 0, 0));
  const bool sized = node.attributes.contains("output_shape");
  std::vector<int64_t> wanted;
  if (sized) {
    DS_ASSIGN_OR_RETURN(wanted, WindowInts(node, "output_shape", rank, 0, 1));
  }
  const std::string mode = node.GetString("auto_pad", "NOTSET");
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && mode != "NOTSET" && mode != "VALID" && !mode.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'auto_pad' is '", mode,
                     "'; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID"));
  }
  if (mode == "VALID") pads.assign(2 * rank, 0);
  window.crop_begin.assign(pads.begin(), pads.begin() + static_cast<int64_t>(rank));
  window.crop_end.assign(pads.begin() + static_cast<int64_t>(rank), pads.end());
  window.output.assign(rank, kDynamicDim);
  for (size_t axis = 0; axis < rank; ++axis) {
    if (spatial[axis] == kDynamicDim) {
      if (sized) window.output[axis] = wanted[axis];
      window.crop_end[axis] -= more[axis];
      continue;
    }
    const int64_t full = (spatial[axis] - 1) * window.strides[axis] +
                         (kernel[axis] - 1) * window.dilations[axis] + 1;
    if (sized || same) {
      CropTo(window, axis, full, more[axis],
             sized ? wanted[axis] : spatial[axis] * window.strides[axis], mode != "SAME_UPPER");
      continue;
    }
    window.crop_end[axis] -= more[axis];
    window.output[axis] = full - window.crop_begin[axis] - window.crop_end[axis];
    if (window.output[axis] < 1) {
      return absl::InvalidArgumentError(absl::StrCat("the pads leave ", window.output[axis],
                                                     " elements of the ", full, " on spatial axis ",
                                                     axis, "; use smaller pads or a larger input"));
    }
  }
  return window;
}

}  // namespace ds
