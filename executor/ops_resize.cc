// Resize, axis by axis: both modes are separable, and picking rows covers every coordinate mode of
// ONNX.
#include <algorithm>
#include <cmath>

#include "executor/kernel.h"

namespace ds::executor {

namespace {

struct ResizeModes {
  bool linear = false;
  std::string coordinates;
  std::string rounding;  // nearest_mode
};

// Position in the input of output element i, in elements.
double SourcePosition(const std::string& mode, int64_t i, double scale, int64_t in, int64_t out) {
  const double x = static_cast<double>(i);
  if (mode == "asymmetric") return x / scale;
  if (mode == "align_corners") {
    return out == 1 ? 0.0 : x * static_cast<double>(in - 1) / static_cast<double>(out - 1);
  }
  if (mode == "pytorch_half_pixel" && out == 1) return 0.0;
  return (x + 0.5) / scale - 0.5;
}

int64_t Round(const std::string& mode, double x) {
  if (mode == "floor") return static_cast<int64_t>(std::floor(x));
  if (mode == "ceil") return static_cast<int64_t>(std::ceil(x));
  if (mode == "round_prefer_ceil") return static_cast<int64_t>(std::floor(x + 0.5));
  return static_cast<int64_t>(std::ceil(x - 0.5));  // round_prefer_floor
}

at::Tensor Pick(const at::Tensor& x, int64_t axis, std::vector<int64_t>& index) {
  at::Tensor at = at::empty({static_cast<int64_t>(index.size())}, at::TensorOptions(at::kLong));
  std::copy(index.begin(), index.end(), at.mutable_data_ptr<int64_t>());
  return at::index_select(x, axis, at);
}

at::Tensor ResizeAxis(const at::Tensor& x, int64_t axis, int64_t out, double scale,
                      const ResizeModes& modes) {
  const int64_t in = x.size(axis);
  std::vector<int64_t> low(static_cast<size_t>(out));
  std::vector<int64_t> high(static_cast<size_t>(out));
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[static_cast<size_t>(axis)] = out;
  at::Tensor weight = at::empty({out}, at::TensorOptions(at::kDouble));
  for (int64_t i = 0; i < out; ++i) {
    const double position = SourcePosition(modes.coordinates, i, scale, in, out);
    const double inside = std::clamp(position, 0.0, static_cast<double>(in - 1));
    const int64_t first =
        modes.linear ? static_cast<int64_t>(std::floor(inside)) : Round(modes.rounding, position);
    low[static_cast<size_t>(i)] = std::clamp<int64_t>(first, 0, in - 1);
    high[static_cast<size_t>(i)] = std::min(low[static_cast<size_t>(i)] + 1, in - 1);
    weight.mutable_data_ptr<double>()[i] = inside - static_cast<double>(first);
  }
  if (!modes.linear) return Pick(x, axis, low);
  const at::Tensor fraction = weight.to(x.scalar_type()).reshape(shape);
  return at::lerp(Pick(x, axis, low), Pick(x, axis, high), fraction);
}

absl::StatusOr<Kernel> MakeResize(const NodeView& view) {
  const ResizeModes modes{
      .linear = view.node.GetString("mode", "nearest") == "linear",
      .coordinates = view.node.GetString("coordinate_transformation_mode", "half_pixel"),
      .rounding = view.node.GetString("nearest_mode", "round_prefer_floor")};
  const IntsOperand sizes(view, 3);
  return Kernel([=](const Call& call) {
    at::Tensor x = call.In(0);
    std::vector<int64_t> target = sizes.Get(call);
    std::vector<double> scales(static_cast<size_t>(x.dim()));
    const bool by_scale = !sizes.present() || target.empty();
    const at::Tensor given = by_scale ? call.In(2).to(at::kDouble).contiguous() : at::Tensor();
    target.resize(scales.size());
    for (size_t i = 0; i < scales.size(); ++i) {
      const double extent = static_cast<double>(x.size(static_cast<int64_t>(i)));
      if (by_scale) {
        scales[i] = given.const_data_ptr<double>()[i];
        target[i] = static_cast<int64_t>(std::floor(extent * scales[i]));
      } else {
        scales[i] = static_cast<double>(target[i]) / extent;
      }
    }
    for (size_t i = 0; i < scales.size(); ++i) {
      if (scales[i] == 1.0) continue;
      x = ResizeAxis(x, static_cast<int64_t>(i), target[i], scales[i], modes);
    }
    call.Set(0, x);
  });
}

}  // namespace

void AddResize(FactoryTable& table) { table["Resize"] = MakeResize; }

}  // namespace ds::executor
