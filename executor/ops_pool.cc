// Pools over one to three spatial axes. LibTorch's own pools where their padding is ONNX's;
// explicit padding around them where it is not (sides that differ, padding over half the window,
// ceil_mode with padding); sums of shifted slices where the window is dilated or its power is
// not 1.
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
  TORCH_CHECK(x.dim() >= 3 && x.dim() <= 5, "pools take [N, C, L], [N, C, H, W] or [N, C, D, H, W]",
              ", not ", x.sizes());
  const auto window = ResolveWindow(node, kernel, x.sizes().slice(2).vec());
  TORCH_CHECK(window.ok(), std::string(window.status().message()));
  return x.dim() == 3 ? Widen(*window) : *window;
}

// Padding on the right that makes `output` whole windows; negative where the input's end is not
// looked at.
std::vector<int64_t> WholeWindows(const Window& window, at::IntArrayRef spatial) {
  std::vector<int64_t> end(spatial.size());
  for (size_t i = 0; i < end.size(); ++i) {
    const int64_t extent = (window.kernel[i] - 1) * window.dilations[i] + 1;
    end[i] = (window.output[i] - 1) * window.strides[i] + extent - spatial[i] - window.pad_begin[i];
  }
  return end;
}

at::Tensor PadSpatial(const at::Tensor& x, const std::vector<int64_t>& begin,
                      const std::vector<int64_t>& end, double value) {
  std::vector<int64_t> pads;  // the last axis first
  for (size_t i = begin.size(); i-- > 0;) {
    pads.push_back(begin[i]);
    pads.push_back(end[i]);
  }
  return at::constant_pad_nd(x, pads, value);
}

at::Tensor PlainMaxPool(const at::Tensor& x, const Window& window,
                        const std::vector<int64_t>& pads) {
  return x.dim() == 5 ? at::max_pool3d(x, window.kernel, window.strides, pads, window.dilations)
                      : at::max_pool2d(x, window.kernel, window.strides, pads, window.dilations);
}

at::Tensor MaxPool(const at::Tensor& x, const Window& window) {
  const size_t rank = window.kernel.size();
  bool plain = window.pad_begin == window.pad_end;
  for (size_t i = 0; i < rank; ++i) plain = plain && window.pad_begin[i] <= window.kernel[i] / 2;
  const std::vector<int64_t> end = WholeWindows(window, x.sizes().slice(2));
  for (size_t i = 0; i < rank; ++i) plain = plain && end[i] <= window.pad_end[i];
  if (plain) return PlainMaxPool(x, window, window.pad_begin);
  const at::Tensor padded =
      PadSpatial(x, window.pad_begin, end, -std::numeric_limits<double>::infinity());
  return PlainMaxPool(padded, window, std::vector<int64_t>(rank, 0));
}

// The largest of each window and where it lies: in the whole input, counted with the last spatial
// axis fastest, or the first.
std::pair<at::Tensor, at::Tensor> MaxPoolAndIndices(const at::Tensor& x, const Window& window,
                                                    bool last_fastest) {
  const size_t rank = window.kernel.size();
  const at::IntArrayRef spatial = x.sizes().slice(2);
  const std::vector<int64_t> end = WholeWindows(window, spatial);
  const at::Tensor padded =
      PadSpatial(x, window.pad_begin, end, -std::numeric_limits<double>::infinity());
  const std::vector<int64_t> none(rank, 0);
  const auto [largest, found] =
      rank == 3 ? at::max_pool3d_with_indices(padded, window.kernel, window.strides, none,
                                              window.dilations)
                : at::max_pool2d_with_indices(padded, window.kernel, window.strides, none,
                                              window.dilations);
  at::Tensor rest = found;  // the index in the padded plane, axis by axis from the last
  at::Tensor offset = at::zeros_like(found);
  int64_t plane = 1;
  for (const int64_t extent : spatial) plane *= extent;
  int64_t step = last_fastest ? 1 : plane;
  for (size_t i = rank; i-- > 0;) {
    const int64_t extent = padded.size(static_cast<int64_t>(i) + 2);
    if (!last_fastest) step /= spatial[i];
    const at::Tensor at = at::sub(at::remainder(rest, extent), window.pad_begin[i]);
    offset = at::add(offset, at, step);
    if (last_fastest) step *= spatial[i];
    rest = at::div(rest, extent, "floor");
  }
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  shape[1] = x.size(1);
  const at::Tensor planes = at::arange(x.size(0) * x.size(1)).reshape(shape);
  return {largest, at::add(offset, planes, plane)};
}

// The sum of each window of `padded`, which holds whole windows.
at::Tensor WindowSums(const at::Tensor& padded, const Window& window) {
  const size_t rank = window.kernel.size();
  bool dilated = false;
  for (const int64_t dilation : window.dilations) dilated = dilated || dilation != 1;
  const std::vector<int64_t> none(rank, 0);
  if (!dilated && rank == 3) {
    return at::avg_pool3d(padded, window.kernel, window.strides, none, false, true, 1);
  }
  if (!dilated) return at::avg_pool2d(padded, window.kernel, window.strides, none, false, true, 1);
  // A sum of sums, axis by axis: of the elements that each step along the axis looks at.
  at::Tensor sums = padded;
  for (size_t i = 0; i < rank; ++i) {
    const int64_t axis = static_cast<int64_t>(i) + 2;
    const int64_t span = (window.output[i] - 1) * window.strides[i] + 1;
    at::Tensor along;
    for (int64_t k = 0; k < window.kernel[i]; ++k) {
      const int64_t first = k * window.dilations[i];
      const at::Tensor part = at::slice(sums, axis, first, first + span, window.strides[i]);
      along = along.defined() ? at::add(along, part) : part;
    }
    sums = along;
  }
  return sums;
}

at::Tensor AveragePool(const at::Tensor& x, const Window& window, bool count_padding) {
  const std::vector<int64_t> end = WholeWindows(window, x.sizes().slice(2));
  bool plain = true;
  for (size_t i = 0; i < end.size(); ++i) {
    plain = plain && window.pad_begin[i] == 0 && end[i] <= 0 && window.dilations[i] == 1;
  }
  if (plain && x.dim() == 4) return at::avg_pool2d(x, window.kernel, window.strides);
  if (plain) return at::avg_pool3d(x, window.kernel, window.strides);
  // Elements that count in each window; what ceil_mode adds beyond the padding never does.
  std::vector<int64_t> ones_shape = {1, 1};
  for (int64_t i = 2; i < x.dim(); ++i) ones_shape.push_back(x.size(i));
  at::Tensor ones = at::ones(ones_shape, x.options());
  std::vector<int64_t> rest = end;
  std::vector<int64_t> begin = window.pad_begin;
  if (count_padding) {
    ones = PadSpatial(ones, window.pad_begin, window.pad_end, 1);
    for (size_t i = 0; i < end.size(); ++i) rest[i] = end[i] - window.pad_end[i];
    begin.assign(begin.size(), 0);
  }
  const at::Tensor counts = WindowSums(PadSpatial(ones, begin, rest, 0), window);
  return at::div(WindowSums(PadSpatial(x, window.pad_begin, end, 0), window), counts);
}

// The p-norm of each window.
at::Tensor LpPool(const at::Tensor& x, const Window& window, int64_t p) {
  const std::vector<int64_t> end = WholeWindows(window, x.sizes().slice(2));
  const at::Tensor powers = at::pow(at::abs(PadSpatial(x, window.pad_begin, end, 0)), p);
  return at::pow(WindowSums(powers, window), 1.0 / static_cast<double>(p));
}

enum class PoolKind { kMax, kAverage, kLp };

template <PoolKind kKind>
absl::StatusOr<Kernel> MakePool(const NodeView& view) {
  const bool count_padding = view.node.GetInt("count_include_pad", 0) != 0;
  const int64_t p = view.node.GetInt("p", 2);
  const bool last_fastest = view.node.GetInt("storage_order", 0) == 0;
  return Kernel([node = view.node, kernel = view.node.GetInts("kernel_shape", {}), count_padding, p,
                 last_fastest](const Call& call) {
    const at::Tensor& x = call.In(0);
    const Window window = ResolveFor(node, kernel, x);
    at::Tensor image = x.dim() == 3 ? x.unsqueeze(2) : x;
    // Bytes have no pools, and no infinity to pad with.
    if (!at::isFloatingType(x.scalar_type())) image = image.to(at::kFloat);
    const auto keep = [&](const at::Tensor& y) { return x.dim() == 3 ? y.squeeze(2) : y; };
    if (call.outputs() > 1) {
      const auto [largest, indices] = MaxPoolAndIndices(image, window, last_fastest);
      call.Set(0, keep(largest).to(x.scalar_type()));
      return call.Set(1, keep(indices));
    }
    const at::Tensor out = kKind == PoolKind::kMax       ? MaxPool(image, window)
                           : kKind == PoolKind::kAverage ? AveragePool(image, window, count_padding)
                                                         : LpPool(image, window, p);
    call.Set(0, keep(out).to(x.scalar_type()));
  });
}

std::vector<int64_t> SpatialAxes(const at::Tensor& x) {
  std::vector<int64_t> axes;
  for (int64_t i = 2; i < x.dim(); ++i) axes.push_back(i);
  return axes;
}

absl::StatusOr<Kernel> MakeGlobalAveragePool(const NodeView&) {
  return Kernel([](const Call& call) {
    call.Set(0, at::mean(call.In(0), SpatialAxes(call.In(0)), /*keepdim=*/true));
  });
}

absl::StatusOr<Kernel> MakeGlobalMaxPool(const NodeView&) {
  return Kernel([](const Call& call) {
    call.Set(0, at::amax(call.In(0), SpatialAxes(call.In(0)), /*keepdim=*/true));
  });
}

absl::StatusOr<Kernel> MakeGlobalLpPool(const NodeView& view) {
  const int64_t p = view.node.GetInt("p", 2);
  return Kernel([p](const Call& call) {
    const at::Tensor& x = call.In(0);
    call.Set(0, at::linalg_vector_norm(x, p, SpatialAxes(x), /*keepdim=*/true));
  });
}

}  // namespace

void AddPooling(FactoryTable& table) {
  table["MaxPool"] = MakePool<PoolKind::kMax>;
  table["AveragePool"] = MakePool<PoolKind::kAverage>;
  table["LpPool"] = MakePool<PoolKind::kLp>;
  table["GlobalAveragePool"] = MakeGlobalAveragePool;
  table["GlobalMaxPool"] = MakeGlobalMaxPool;
  table["GlobalLpPool"] = MakeGlobalLpPool;
}

}  // namespace ds::executor
