#include "graph/schema/window.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<std::vector<int64_t>> WindowInts(const Node& node, const std::string& key,
                                                size_t count, int64_t fallback, int64_t least) {
  std::vector<int64_t> numbers = node.GetInts(key, std::vector<int64_t>(count, fallback));
  if (numbers.size() != count) {
    return absl::InvalidArgumentError(absl::StrCat("attribute '", key, "' has ", numbers.size(),
                                                   " numbers; the input needs ", count));
  }
  for (int64_t number : numbers) {
    if (number < least || number > kMaxWindowNumber) {
      return absl::InvalidArgumentError(absl::StrCat(
          "attribute '", key, "' holds ", number, ", outside ", least, " to ", kMaxWindowNumber));
    }
  }
  return numbers;
}

absl::Status CheckKernel(absl::Span<const int64_t> kernel, size_t spatial_axes) {
  if (kernel.size() != spatial_axes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the kernel has ", kernel.size(), " spatial axes but the input has ", spatial_axes));
  }
  for (const int64_t extent : kernel) {
    if (extent < 1 || extent > kMaxWindowNumber) {
      return absl::InvalidArgumentError(
          absl::StrCat("the kernel has the extent ", extent, ", outside 1 to ", kMaxWindowNumber));
    }
  }
  return absl::OkStatus();
}

namespace {

int64_t Extent(const Window& window, size_t axis) {
  return window.dilations[axis] * (window.kernel[axis] - 1) + 1;
}

// Splits what SAME_UPPER or SAME_LOWER needs; the odd element goes to the end or the beginning.
void PadSame(Window& window, size_t axis, int64_t input, bool upper) {
  const int64_t stride = window.strides[axis];
  window.output[axis] = (input + stride - 1) / stride;
  const int64_t covered = (window.output[axis] - 1) * stride + Extent(window, axis);
  const int64_t total = std::max<int64_t>(covered - input, 0);
  const int64_t smaller = total / 2;
  window.pad_begin[axis] = upper ? smaller : total - smaller;
  window.pad_end[axis] = total - window.pad_begin[axis];
}

absl::Status ResolveAxis(const Node& node, Window& window, size_t axis, int64_t input) {
  const int64_t padded = input + window.pad_begin[axis] + window.pad_end[axis];
  const int64_t extent = Extent(window, axis);
  if (extent > padded) {
    return absl::InvalidArgumentError(
        absl::StrCat("the window covers ", extent, " elements on spatial axis ", axis,
                     " but the padded input has ", padded,
                     "; use a larger input, a smaller kernel or more padding"));
  }
  const int64_t stride = window.strides[axis];
  const bool ceil = node.GetInt("ceil_mode", 0) != 0;
  int64_t steps = (padded - extent + (ceil ? stride - 1 : 0)) / stride;
  if (ceil && steps * stride >= input + window.pad_begin[axis]) --steps;
  window.output[axis] = steps + 1;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Window> ResolveWindow(const Node& node, absl::Span<const int64_t> kernel,
                                     absl::Span<const int64_t> spatial) {
  const size_t rank = spatial.size();
  Window window;
  window.kernel.assign(kernel.begin(), kernel.end());
  DS_RETURN_IF_ERROR(CheckKernel(kernel, rank));
  DS_ASSIGN_OR_RETURN(window.strides, WindowInts(node, "strides", rank, 1, 1));
  DS_ASSIGN_OR_RETURN(window.dilations, WindowInts(node, "dilations", rank, 1, 1));
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> pads, WindowInts(node, "pads", 2 * rank, 0, 0));
  const std::string mode = node.GetString("auto_pad", "NOTSET");
  const bool same = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  if (!same && mode != "NOTSET" && mode != "VALID" && !mode.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'auto_pad' is '", mode,
                     "'; it must be NOTSET, SAME_UPPER, SAME_LOWER or VALID"));
  }
  if (same || mode == "VALID") pads.assign(2 * rank, 0);
  window.pad_begin.assign(pads.begin(), pads.begin() + rank);
  window.pad_end.assign(pads.begin() + rank, pads.end());
  window.output.assign(rank, kDynamicDim);
  for (size_t axis = 0; axis < rank; ++axis) {
    if (spatial[axis] == kDynamicDim) continue;
    if (same) {
      PadSame(window, axis, spatial[axis], mode == "SAME_UPPER");
    } else {
      DS_RETURN_IF_ERROR(ResolveAxis(node, window, axis, spatial[axis]));
    }
  }
  return window;
}

}  // namespace ds
