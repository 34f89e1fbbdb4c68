// Resize, axis by axis: every mode of ONNX is separable. Each element of the result is a sum of a
// few of the input's ("taps"), with weights that depend on its position along the axis only.
#include <algorithm>
#include <cmath>

#include "executor/kernel.h"

namespace ds::executor {

namespace {

struct Modes {
  std::string interpolation;
  std::string coordinates;
  std::string rounding;  // nearest_mode
  std::string policy;    // keep_aspect_ratio_policy
  double cubic = -0.75;  // Keys' a
  double extrapolation = 0;
  bool antialias = false;
  bool exclude_outside = false;
};

// One axis as it is resized.
struct AxisPlan {
  int64_t in = 0;
  int64_t out = 0;
  double scale = 1;
  double begin = 0;  // of the region, as fractions of the axis
  double end = 1;
};

// Sources and weights of each result element, tap by tap.
struct Taps {
  std::vector<std::vector<int64_t>> index;
  std::vector<std::vector<double>> weight;
  std::vector<bool> outside;  // result elements that lie off the input (tf_crop_and_resize)
};

// Position in the input of result element i, in elements.
template <typename Real>
Real SourcePosition(const std::string& mode, int64_t i, const AxisPlan& axis) {
  const Real x = static_cast<Real>(i);
  const Real last = static_cast<Real>(axis.in - 1);
  const Real scale = static_cast<Real>(axis.scale);
  const Real half = static_cast<Real>(0.5);
  if (mode == "asymmetric") return x / scale;
  if (mode == "align_corners") {
    // By the result's extent, as PyTorch and ONNX Runtime have it; ONNX's own reference takes the
    // size that the scale asks for, which may have a fraction.
    return axis.out == 1 ? Real{0} : x * last / static_cast<Real>(axis.out - 1);
  }
  if (mode == "tf_crop_and_resize") {
    const Real begin = static_cast<Real>(axis.begin), end = static_cast<Real>(axis.end);
    if (axis.out == 1) return half * (begin + end) * last;
    return begin * last + x * (end - begin) * last / static_cast<Real>(axis.out - 1);
  }
  if (mode == "tf_half_pixel_for_nn") return (x + half) / scale;
  if (mode == "pytorch_half_pixel" && axis.out == 1) return 0;
  const Real position = (x + half) / scale - half;
  if (mode != "half_pixel_symmetric") return position;
  // The result's fraction of an element that was cut off is taken from both ends alike.
  const Real extent = static_cast<Real>(axis.in);
  const Real adjustment = static_cast<Real>(axis.out) / (scale * extent);
  return extent / 2 * (1 - adjustment) + position;
}

int64_t Round(const std::string& mode, float x) {
  if (mode == "floor") return static_cast<int64_t>(std::floor(x));
  if (mode == "ceil") return static_cast<int64_t>(std::ceil(x));
  // A sum with a half would round itself. What lies before the first element is clamped.
  const float whole = std::trunc(x);
  const bool down = mode == "round_prefer_floor" && x == whole + 0.5F;
  return static_cast<int64_t>(down ? whole : std::round(x));
}

// Keys, "Cubic Convolution Interpolation for Digital Image Processing", equation 15.
double CubicWeight(double distance, double a) {
  const double x = std::abs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0.0;
}

double Weight(const Modes& modes, double distance) {
  if (modes.interpolation == "cubic") return CubicWeight(distance, modes.cubic);
  return std::max(0.0, 1.0 - std::abs(distance));
}

// Under antialias a filter that shrinks is as wide as what becomes one element.
Taps MakeTaps(const Modes& modes, const AxisPlan& axis) {
  const bool nearest = modes.interpolation == "nearest";
  const double width = modes.antialias ? std::min(axis.scale, 1.0) : 1.0;
  // Sizes of one element or more make no filter wider than twice the input.
  const double filter = (modes.interpolation == "cubic" ? 2.0 : 1.0) / width;
  const auto reach =
      static_cast<int64_t>(std::ceil(std::min(filter, 2.0 * static_cast<double>(axis.in) + 2.0)));
  const size_t count = nearest ? 1 : static_cast<size_t>(2 * reach);
  const size_t out = static_cast<size_t>(axis.out);
  Taps taps;
  taps.index.assign(count, std::vector<int64_t>(out));
  taps.weight.assign(count, std::vector<double>(out, 1.0));
  taps.outside.assign(out, false);
  for (size_t i = 0; i < out; ++i) {
    const auto element = static_cast<int64_t>(i);
    // Which element is nearest is decided in single precision, as other runtimes do: 6 / 1.2F is 5
    // there, and a little less in double.
    double position = nearest ? SourcePosition<float>(modes.coordinates, element, axis)
                              : SourcePosition<double>(modes.coordinates, element, axis);
    TORCH_CHECK(std::isfinite(position), "scales or roi are no numbers");
    const double last = static_cast<double>(axis.in - 1);
    taps.outside[i] =
        modes.coordinates == "tf_crop_and_resize" && (position < 0 || position > last);
    // Far off everything is the border's.
    position = std::clamp(position, -4.0 * (last + 4), 5.0 * (last + 4));
    if (nearest) {
      const int64_t source = Round(modes.rounding, static_cast<float>(position));
      taps.index[0][i] = std::clamp<int64_t>(source, 0, axis.in - 1);
      continue;
    }
    const int64_t first = static_cast<int64_t>(std::floor(position)) - reach + 1;
    double sum = 0;
    for (size_t k = 0; k < count; ++k) {
      const int64_t source = first + static_cast<int64_t>(k);
      const bool off = source < 0 || source >= axis.in;
      double weight = Weight(modes, (static_cast<double>(source) - position) * width);
      // What is off counts as the border, or not at all.
      if (off && modes.exclude_outside) weight = 0;
      taps.index[k][i] = std::clamp<int64_t>(source, 0, axis.in - 1);
      taps.weight[k][i] = weight;
      sum += weight;
    }
    for (size_t k = 0; k < count; ++k) taps.weight[k][i] /= sum;
  }
  return taps;
}

at::Tensor Pick(const at::Tensor& x, int64_t axis, const std::vector<int64_t>& index) {
  at::Tensor at = at::empty({static_cast<int64_t>(index.size())}, at::TensorOptions(at::kLong));
  std::copy(index.begin(), index.end(), at.mutable_data_ptr<int64_t>());
  return at::index_select(x, axis, at);
}

at::Tensor ResizeAxis(const at::Tensor& x, int64_t axis, const AxisPlan& plan, const Modes& modes) {
  TORCH_CHECK(plan.in > 0, "axis ", axis, " has no elements to resize");
  const Taps taps = MakeTaps(modes, plan);
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[static_cast<size_t>(axis)] = plan.out;
  at::Tensor sum;
  for (size_t k = 0; k < taps.index.size(); ++k) {
    const at::Tensor picked = Pick(x, axis, taps.index[k]);
    if (taps.index.size() == 1) {
      sum = picked;
      break;
    }
    const at::Tensor weight = at::tensor(taps.weight[k], at::TensorOptions(at::kDouble));
    const at::Tensor part = at::mul(picked, weight.to(x.scalar_type()).reshape(shape));
    sum = sum.defined() ? at::add(sum, part) : part;
  }
  if (std::find(taps.outside.begin(), taps.outside.end(), true) == taps.outside.end()) return sum;
  at::Tensor off = at::empty({plan.out}, at::TensorOptions(at::kBool));
  for (size_t i = 0; i < taps.outside.size(); ++i) off.data_ptr<bool>()[i] = taps.outside[i];
  return at::masked_fill(sum, off.reshape(shape), modes.extrapolation);
}

class ResizeKernel {
 public:
  explicit ResizeKernel(const NodeView& view)
      : axes_(view.node.GetInts("axes", {})), sizes_(view, 3) {
    modes_.interpolation = view.node.GetString("mode", "nearest");
    modes_.coordinates = view.node.GetString("coordinate_transformation_mode", "half_pixel");
    modes_.rounding = view.node.GetString("nearest_mode", "round_prefer_floor");
    modes_.policy = view.node.GetString("keep_aspect_ratio_policy", "stretch");
    modes_.cubic = view.node.GetFloat("cubic_coeff_a", -0.75f);
    modes_.extrapolation = view.node.GetFloat("extrapolation_value", 0.0f);
    modes_.antialias = view.node.GetInt("antialias", 0) != 0 && modes_.interpolation != "nearest";
    modes_.exclude_outside = view.node.GetInt("exclude_outside", 0) != 0;
  }

  void operator()(const Call& call) const {
    at::Tensor x = call.In(0);
    const bool real = at::isFloatingType(x.scalar_type());
    if (!real && modes_.interpolation != "nearest") x = x.to(at::kDouble);
    std::vector<int64_t> axes = axes_;
    for (int64_t i = 0; axes_.empty() && i < x.dim(); ++i) axes.push_back(i);
    const std::vector<AxisPlan> plans = MakePlans(call, axes);
    for (size_t i = 0; i < axes.size(); ++i) {
      const bool changes = plans[i].scale != 1.0 || plans[i].in != plans[i].out ||
                           modes_.coordinates == "tf_crop_and_resize";
      if (changes) x = ResizeAxis(x, Axis(axes[i], x.dim()), plans[i], modes_);
    }
    call.Set(0, x.to(call.In(0).scalar_type()));
  }

 private:
  static std::vector<double> Doubles(const at::Tensor& tensor, size_t count, const char* what) {
    const at::Tensor plain = tensor.to(at::kDouble).contiguous();
    TORCH_CHECK(plain.numel() == static_cast<int64_t>(count), what, " has ", plain.numel(),
                " numbers where ", count, " are wanted");
    const double* data = plain.const_data_ptr<double>();
    return {data, data + count};
  }

  static int64_t Elements(double count) {
    TORCH_CHECK(count >= 0 && count < 1e12, "an axis would get ", count, " elements");
    return static_cast<int64_t>(count);
  }

  std::vector<AxisPlan> MakePlans(const Call& call, const std::vector<int64_t>& axes) const {
    const at::Tensor& x = call.In(0);
    std::vector<AxisPlan> plans(axes.size());
    if (modes_.coordinates == "tf_crop_and_resize") {
      const std::vector<double> region = Doubles(call.In(1), 2 * axes.size(), "roi");
      for (size_t i = 0; i < axes.size(); ++i) {
        plans[i].begin = region[i];
        plans[i].end = region[i + axes.size()];
      }
    }
    for (size_t i = 0; i < axes.size(); ++i) plans[i].in = x.size(Axis(axes[i], x.dim()));
    std::vector<int64_t> sizes = sizes_.Get(call);
    if (!sizes_.present() || sizes.empty()) {
      const std::vector<double> scales = Doubles(call.In(2), axes.size(), "scales");
      for (size_t i = 0; i < axes.size(); ++i) {
        // In single precision, as the schema and other runtimes find the size.
        const float extent = static_cast<float>(plans[i].in);
        const float part = static_cast<float>(plans[i].end) - static_cast<float>(plans[i].begin);
        plans[i].scale = scales[i];
        plans[i].out = Elements(std::floor(extent * part * static_cast<float>(scales[i])));
      }
      return plans;
    }
    TORCH_CHECK(sizes.size() == axes.size(), "there are ", sizes.size(), " sizes for ", axes.size(),
                " axes");
    double common = 0;
    for (size_t i = 0; i < axes.size(); ++i) {
      plans[i].out = sizes[i];
      plans[i].scale = static_cast<double>(sizes[i]) / static_cast<double>(plans[i].in);
      const bool larger = modes_.policy == "not_smaller";
      common = i == 0   ? plans[i].scale
               : larger ? std::max(common, plans[i].scale)
                        : std::min(common, plans[i].scale);
    }
    if (modes_.policy == "stretch") return plans;
    for (AxisPlan& plan : plans) {
      plan.scale = common;
      plan.out = Elements(std::floor(static_cast<double>(plan.in) * common + 0.5));
    }
    return plans;
  }

  Modes modes_;
  std::vector<int64_t> axes_;
  IntsOperand sizes_;
};

absl::StatusOr<Kernel> MakeResize(const NodeView& view) { return Kernel(ResizeKernel(view)); }

}  // namespace

void AddResize(FactoryTable& table) { table["Resize"] = MakeResize; }

}  // namespace ds::executor
