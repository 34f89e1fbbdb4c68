#include "graph/schema/structured/transposed_window.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

namespace {

// Bounds every sum and product below, whatever a file claims.
constexpr int64_t kMaxWindowNumber = int64_t{1} << 20;

absl::StatusOr<std::vector<int64_t>> ReadInts(const Node& node, const std::string& key,
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
  if (kernel.size() != rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("the kernel has ", kernel.size(), " spatial axes but the input has ", rank));
  }
  for (const int64_t extent : kernel) {
    if (extent < 1 || extent > kMaxWindowNumber) {
      return absl::InvalidArgumentError(
          absl::StrCat("the kernel has the extent ", extent, ", outside 1 to ", kMaxWindowNumber));
    }
  }
  TransposedWindow window;
  DS_ASSIGN_OR_RETURN(window.strides, ReadInts(node, "strides", rank, 1, 1));
  DS_ASSIGN_OR_RETURN(window.dilations, ReadInts(node, "dilations", rank, 1, 1));
  DS_ASSIGN_OR_RETURN(std::vector<int64_t> pads, ReadInts(node, "pads", 2 * rank, 0, 0));
  DS_ASSIGN_OR_RETURN(const auto more, ReadInts(node, "output_padding", rank, 0, 0));
  const bool sized = node.attributes.contains("output_shape");
  std::vector<int64_t> wanted;
  if (sized) {
    DS_ASSIGN_OR_RETURN(wanted, ReadInts(node, "output_shape", rank, 0, 1));
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
