// Pools. LibTorch's own pools where their padding is ONNX's; explicit padding around them where it
// is not (sides that differ, padding over half the window, ceil_mode with padding).
#include <limits>

#include "executor/kernel.h"
#include "graph/schema/window.h"

namespace ds::executor {

namespace {

// One spatial axis becomes two with an extent of 1, so that one set of kernels serves both.
Window Widen(Window window) {
  for (auto* list : {&window.kernel, &window.strides, &window.dilations, &window.output}) {
    list->insert(list->begin(), 1);
  }
  window.pad_begin.insert(window.pad_begin.begin(), 0);
  window.pad_end.insert(window.pad_end.begin(), 0);
  return window;
}

Window ResolveFor(const Node& node, const std::vector<int64_t>& kernel, const at::Tensor& x) {
  TORCH_CHECK(x.dim() == 3 || x.dim() == 4, "pools take [N, C, L] or [N, C, H, W], not ",
              x.sizes());
  const auto window = ResolveWindow(node, kernel, x.sizes().slice(2).vec());
  TORCH_CHECK(window.ok(), std::string(window.status().message()));
  return x.dim() == 3 ? Widen(*window) : *window;
}

// Padding on the right that makes `output` whole windows; negative where the input's end is not
// looked at.
std::vector<int64_t> WholeWindows(const Window& window, at::IntArrayRef spatial) {
  std::vector<int64_t> end(2);
  for (size_t i = 0; i < 2; ++i) {
    const int64_t extent = (window.kernel[i] - 1) * window.dilations[i] + 1;
    end[i] = (window.output[i] - 1) * window.strides[i] + extent - spatial[i] - window.pad_begin[i];
  }
  return end;
}

at::Tensor PadSpatial(const at::Tensor& x, const std::vector<int64_t>& begin,
                      const std::vector<int64_t>& end, double value) {
  return at::constant_pad_nd(x, {begin[1], end[1], begin[0], end[0]}, value);
}

at::Tensor MaxPool(const at::Tensor& x, const Window& window) {
  bool plain = window.pad_begin == window.pad_end;
  for (size_t i = 0; i < 2; ++i) plain = plain && window.pad_begin[i] <= window.kernel[i] / 2;
  const std::vector<int64_t> end = WholeWindows(window, x.sizes().slice(2));
  for (size_t i = 0; i < 2; ++i) plain = plain && end[i] <= window.pad_end[i];
  if (plain) {
    return at::max_pool2d(x, window.kernel, window.strides, window.pad_begin, window.dilations);
  }
  const at::Tensor padded =
      PadSpatial(x, window.pad_begin, end, -std::numeric_limits<double>::infinity());
  return at::max_pool2d(padded, window.kernel, window.strides, {0, 0}, window.dilations);
}

at::Tensor AveragePool(const at::Tensor& x, const Window& window, bool count_padding) {
  const std::vector<int64_t> end = WholeWindows(window, x.sizes().slice(2));
  const bool unpadded =
      window.pad_begin == std::vector<int64_t>{0, 0} && end[0] <= 0 && end[1] <= 0;
  if (unpadded) return at::avg_pool2d(x, window.kernel, window.strides);
  const auto sums = [&](const at::Tensor& padded) {
    return at::avg_pool2d(padded, window.kernel, window.strides, {0, 0}, false, true, 1);
  };
  // Elements that count in each window; what ceil_mode adds beyond the padding never does.
  at::Tensor ones = at::ones({1, 1, x.size(2), x.size(3)}, x.options());
  std::vector<int64_t> rest = end;
  std::vector<int64_t> begin = window.pad_begin;
  if (count_padding) {
    ones = PadSpatial(ones, window.pad_begin, window.pad_end, 1);
    for (size_t i = 0; i < 2; ++i) rest[i] = end[i] - window.pad_end[i];
    begin = {0, 0};
  }
  const at::Tensor counts = sums(PadSpatial(ones, begin, rest, 0));
  return sums(PadSpatial(x, window.pad_begin, end, 0)) / counts;
}

template <bool kMax>
absl::StatusOr<Kernel> MakePool(const NodeView& view) {
  const bool count_padding = view.node.GetInt("count_include_pad", 0) != 0;
  return Kernel([node = view.node, kernel = view.node.GetInts("kernel_shape", {}),
                 count_padding](const Call& call) {
    const at::Tensor& x = call.In(0);
    const Window window = ResolveFor(node, kernel, x);
    const at::Tensor image = x.dim() == 3 ? x.unsqueeze(2) : x;
    const at::Tensor out =
        kMax ? MaxPool(image, window) : AveragePool(image, window, count_padding);
    call.Set(0, x.dim() == 3 ? out.squeeze(2) : out);
  });
}

absl::StatusOr<Kernel> MakeGlobalAveragePool(const NodeView&) {
  return Kernel([](const Call& call) {
    const at::Tensor& x = call.In(0);
    std::vector<int64_t> axes;
    for (int64_t i = 2; i < x.dim(); ++i) axes.push_back(i);
    call.Set(0, at::mean(x, axes, /*keepdim=*/true));
  });
}

}  // namespace

void AddPooling(FactoryTable& table) {
  table["MaxPool"] = MakePool<true>;
  table["AveragePool"] = MakePool<false>;
  table["GlobalAveragePool"] = MakeGlobalAveragePool;
}

}  // namespace ds::executor
