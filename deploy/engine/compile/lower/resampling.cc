// Images of other sizes: Resize in all its modes, transposed convolutions, samples at computed
// places.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "graph/schema/schema.h"
#include "graph/schema/structured/transposed_window.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;
using file::Type;

uint32_t Field(int64_t number) { return static_cast<uint32_t>(number); }

// How one axis is resized.
struct AxisScale {
  int64_t before, after;
  float scale;
  float begin = 0, end = 1;  // the region, as fractions
};

// Where an element of the result lies among those it comes from (ONNX, Resize).
float Origin(const std::string& mode, const AxisScale& axis, int64_t at) {
  const auto x = static_cast<float>(at);
  const auto before = static_cast<float>(axis.before), after = static_cast<float>(axis.after);
  if (mode == "asymmetric") return x / axis.scale;
  if (mode == "align_corners") return after == 1 ? 0 : x * (before - 1) / (after - 1);
  if (mode == "tf_half_pixel_for_nn") return (x + 0.5f) / axis.scale;
  if (mode == "pytorch_half_pixel") return after > 1 ? (x + 0.5f) / axis.scale - 0.5f : 0;
  if (mode == "tf_crop_and_resize") {
    if (after > 1) {
      return axis.begin * (before - 1) + x * (axis.end - axis.begin) * (before - 1) / (after - 1);
    }
    return 0.5f * (axis.begin + axis.end) * (before - 1);
  }
  if (mode == "half_pixel_symmetric") {
    const float adjustment = after / (axis.scale * before);
    const float center = before / 2;
    return center * (1 - adjustment) + (x + 0.5f) / axis.scale - 0.5f;
  }
  return (x + 0.5f) / axis.scale - 0.5f;
}

float Rounded(const std::string& mode, float x) {
  if (mode == "floor") return std::floor(x);
  if (mode == "ceil") return std::ceil(x);
  if (mode == "round_prefer_ceil") return std::floor(x + 0.5f);
  return std::ceil(x - 0.5f);
}

float Triangle(float d) { return std::max(0.0f, 1 - std::fabs(d)); }
// Keys 1981.
float Cubic(float a, float d) {
  d = std::fabs(d);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

struct Rows {
  int64_t taps = 0;
  std::vector<int32_t> indices;
  std::vector<float> weights, offsets;
};

Rows WeightsOf(const Node& node, const AxisScale& axis) {
  const std::string mode = node.GetString("coordinate_transformation_mode", "half_pixel");
  const bool cubic = node.GetString("mode", "nearest") == "cubic";
  const float a = node.GetFloat("cubic_coeff_a", -0.75f);
  // Smaller images are smoothed by a filter as wide as its pixels.
  const float squeeze = node.GetInt("antialias", 0) != 0 ? std::min(1.0f, axis.scale) : 1.0f;
  const float reach = (cubic ? 2.0f : 1.0f) / squeeze;
  const bool excludes = node.GetInt("exclude_outside", 0) != 0;
  Rows rows;
  std::vector<std::map<int32_t, float>> all;
  for (int64_t at = 0; at < axis.after; ++at) {
    float x = Origin(mode, axis, at);
    std::map<int32_t, float> row;
    const bool beyond =
        mode == "tf_crop_and_resize" && (x < 0 || x > static_cast<float>(axis.before - 1));
    rows.offsets.push_back(beyond ? node.GetFloat("extrapolation_value", 0) : 0);
    if (!cubic && squeeze == 1) x = std::clamp(x, 0.0f, static_cast<float>(axis.before - 1));
    float sum = 0;
    const auto first = static_cast<int64_t>(std::floor(x - reach)) + 1;
    for (int64_t i = first; !beyond && i <= static_cast<int64_t>(std::floor(x + reach)); ++i) {
      if (excludes && (i < 0 || i >= axis.before)) continue;
      const float d = (x - static_cast<float>(i)) * squeeze;
      const float weight = cubic ? Cubic(a, d) : Triangle(d);
      sum += weight;
      if (weight != 0) {
        row[static_cast<int32_t>(std::clamp<int64_t>(i, 0, axis.before - 1))] += weight;
      }
    }
    for (auto& [index, weight] : row) {
      if ((excludes || squeeze < 1) && sum != 0) weight /= sum;
    }
    rows.taps = std::max(rows.taps, static_cast<int64_t>(row.size()));
    all.push_back(std::move(row));
  }
  rows.taps = std::max<int64_t>(rows.taps, 1);
  for (const auto& row : all) {
    for (const auto& [index, weight] : row) {
      rows.indices.push_back(index);
      rows.weights.push_back(weight);
    }
    for (auto left = static_cast<int64_t>(row.size()); left < rows.taps; ++left) {
      rows.indices.push_back(0);
      rows.weights.push_back(0);
    }
  }
  return rows;
}

absl::StatusOr<std::map<size_t, AxisScale>> ScalesOf(const Graph& graph, const Node& node,
                                                     const Shape& before, const Shape& after) {
  std::vector<int64_t> axes = node.GetInts("axes", {});
  if (axes.empty()) {
    axes.resize(before.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  const auto constant = [&](size_t slot) -> const Tensor* {
    if (node.inputs.size() <= slot || node.inputs[slot] == kNoValue) return nullptr;
    const Tensor* tensor = graph.Constant(node.inputs[slot]);
    return tensor != nullptr && tensor->num_elements() > 0 ? tensor : nullptr;
  };
  const Tensor *region = constant(1), *scales = constant(2);
  const bool policy = node.GetString("keep_aspect_ratio_policy", "stretch") != "stretch";
  const bool larger = node.GetString("keep_aspect_ratio_policy", "stretch") == "not_smaller";
  float one = 0;
  const Tensor* sizes = constant(3);
  std::map<size_t, AxisScale> result;
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis =
        static_cast<size_t>(axes[i] < 0 ? axes[i] + static_cast<int64_t>(before.size()) : axes[i]);
    AxisScale scale{before[axis], after[axis],
                    static_cast<float>(after[axis]) / static_cast<float>(before[axis])};
    if (scales != nullptr && scales->dtype() == DType::kFloat32) {
      scale.scale = scales->span<float>()[i];
    }
    if (policy && sizes != nullptr && sizes->dtype() == DType::kInt64) {
      const float wanted =
          static_cast<float>(sizes->span<int64_t>()[i]) / static_cast<float>(before[axis]);
      one = i == 0 ? wanted : larger ? std::max(one, wanted) : std::min(one, wanted);
    }
    if (region != nullptr && region->dtype() == DType::kFloat32) {
      scale.begin = region->span<float>()[i];
      scale.end = region->span<float>()[axes.size() + i];
    }
    result[axis] = scale;
  }
  for (auto& [axis, scale] : result) {
    if (policy && sizes != nullptr) scale.scale = one;
  }
  return result;
}

// A crop whose region is known when the model runs only.
bool RegionIsOpen(const Graph& graph, const Node& node) {
  return node.GetString("coordinate_transformation_mode", "") == "tf_crop_and_resize" &&
         (node.inputs.size() < 2 || graph.Constant(node.inputs[1]) == nullptr);
}

bool Stays(const Node& node, const AxisScale& axis) {
  const bool region = node.GetString("coordinate_transformation_mode", "") == "tf_crop_and_resize";
  const bool whole = !region || (axis.begin == 0 && axis.end == 1);
  return axis.before == axis.after && axis.scale == 1 && whole;
}

}  // namespace

// Nearest, axis by axis: of any type.
absl::StatusOr<Held> Lowering::ResizeNearest(const Node& node, Held held) {
  const Shape before = ShapeOf(node.inputs[0]), after = ShapeOf(node.outputs[0]);
  DS_ASSIGN_OR_RETURN(const auto scales, ScalesOf(graph_, node, before, after));
  if (RegionIsOpen(graph_, node)) return Refuse(node, "its region is no constant");
  const std::string mode = node.GetString("coordinate_transformation_mode", "half_pixel");
  const float beyond = node.GetFloat("extrapolation_value", 0);
  uint32_t fill = 0;
  std::memcpy(&fill, &beyond, sizeof(fill));
  if (mode == "tf_crop_and_resize" && program_.tensors[held.tensor].type != Type::kFloat32) {
    return Refuse(node, "it crops what are no floats");
  }
  for (const auto& [axis, scale] : scales) {
    if (Stays(node, scale)) continue;
    std::vector<int64_t> indices;
    for (int64_t at = 0; at < scale.after; ++at) {
      const float x = Origin(mode, scale, at);
      const auto last = static_cast<float>(scale.before - 1);
      if (mode == "tf_crop_and_resize" && (x < 0 || x > last)) {
        indices.push_back(-1);
        continue;
      }
      const float near = Rounded(node.GetString("nearest_mode", "round_prefer_floor"), x);
      indices.push_back(static_cast<int64_t>(std::clamp(near, 0.0f, last)));
    }
    DS_ASSIGN_OR_RETURN(held, TakeConstant(held, static_cast<int64_t>(axis), indices, fill, 0,
                                           absl::StrCat(node.name, ".axis", axis)));
  }
  return held;
}

absl::StatusOr<Held> Lowering::ResampleReal(const Node& node) {
  const Shape before = ShapeOf(node.inputs[0]), after = ShapeOf(node.outputs[0]);
  if (graph_.value(node.inputs[0]).dtype != DType::kFloat32) {
    return Refuse(node, "it interpolates what are no floats");
  }
  if (RegionIsOpen(graph_, node)) return Refuse(node, "its region is no constant");
  DS_ASSIGN_OR_RETURN(const auto scales, ScalesOf(graph_, node, before, after));
  DS_ASSIGN_OR_RETURN(Held held, Value(node.inputs[0]));
  if (before.size() == 4) {
    DS_ASSIGN_OR_RETURN(const int image, AsImage(held));
    held = Held{image, true};
  }
  DS_ASSIGN_OR_RETURN(held.tensor, Dense(held.tensor));
  for (const auto& [axis, scale] : scales) {
    if (Stays(node, scale)) continue;
    const Rows rows = WeightsOf(node, scale);
    constexpr size_t kImageAxis[] = {0, 3, 1, 2};
    const size_t place = held.image ? kImageAxis[axis] : axis;
    Dims dims = program_.tensors[held.tensor].dims;
    file::ResampleParameters p{1, Field(dims[place]), 1, Field(scale.after), Field(rows.taps)};
    for (size_t i = 0; i < dims.size(); ++i) {
      if (i < place) p.outer *= Field(dims[i]);
      if (i > place) p.inner *= Field(dims[i]);
    }
    dims[place] = scale.after;
    const std::string name = absl::StrCat(node.name, ".axis", axis);
    const int which =
        AddConstant(name + ".indices", Type::kInt32, {scale.after, rows.taps}, rows.indices);
    const int weights =
        AddConstant(name + ".weights", Type::kFloat32, {scale.after, rows.taps}, rows.weights);
    const int offsets = AddConstant(name + ".offsets", Type::kFloat32, {scale.after}, rows.offsets);
    const int result = AddTensor(name, Type::kFloat32, dims);
    Emit(OperatorKind::kResample, node, {held.tensor, which, weights, offsets}, result).parameters =
        p;
    held.tensor = result;
  }
  return held;
}

// A product for each input pixel, then the windows added up where they lie.
absl::StatusOr<Held> Lowering::ConvTransposeReal(const Node& node) {
  const auto weight = ConstantFloats(graph_, makers_, node.inputs[1]);
  const Shape from = ShapeOf(node.inputs[0]), shape = ShapeOf(node.outputs[0]);
  if (!weight) return Refuse(node, "its weight is no constant");
  if (from.size() != 4) return Refuse(node, "it has more than two spatial axes");
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto bias = biased ? ConstantFloats(graph_, makers_, node.inputs[2]) : std::nullopt;
  if (biased && !bias) return Refuse(node, "its bias is no constant");
  const Shape& w = weight->shape();  // [inputs, outputs of a group, kh, kw]
  DS_ASSIGN_OR_RETURN(const TransposedWindow window,
                      ResolveTransposedWindow(node, {w[2], w[3]}, {from[2], from[3]}));
  if (window.crop_begin[0] < 0 || window.crop_begin[1] < 0) {
    return Refuse(node, "its result begins before its first element");
  }
  const int64_t groups = node.GetInt("group", 1), inputs = w[0] / groups, outputs = w[1],
                taps = w[2] * w[3];
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int image, AsImage(held));
  const std::string& name = graph_.value(node.outputs[0]).name;
  const int products = AddTensor(absl::StrCat(name, ".products"), Type::kFloat32,
                                 {from[0], from[2], from[3], groups * taps * outputs});
  Step& step = Emit(OperatorKind::kConvF32, node, {image}, products);
  step.parameters = file::ConvF32Parameters{{1, 1, 1, 1, 1, 1, 0, 0, Field(groups)}, 0, 0, 0, 0};
  step.reals.resize(static_cast<size_t>(w[0] * taps * outputs));
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t t = 0; t < taps; ++t) {
          step.reals[static_cast<size_t>((g * taps * outputs + t * outputs + o) * inputs + i)] =
              weight->span<float>()[((g * inputs + i) * outputs + o) * taps + t];
        }
      }
    }
  }
  step.macs = MultiplyAccumulates(graph_, node);
  std::vector<float> shifts(static_cast<size_t>(groups * outputs), 0.0f);
  if (bias) std::copy(bias->span<float>().begin(), bias->span<float>().end(), shifts.begin());
  const int added =
      AddConstant(absl::StrCat(name, ".bias"), Type::kFloat32, {groups * outputs}, shifts);
  const int result = AddTensor(name, Type::kFloat32, ImageDims(shape));
  Emit(OperatorKind::kFold, node, {products, added}, result).parameters =
      file::FoldParameters{Field(from[2]),
                           Field(from[3]),
                           Field(w[2]),
                           Field(w[3]),
                           Field(window.strides[0]),
                           Field(window.strides[1]),
                           Field(window.dilations[0]),
                           Field(window.dilations[1]),
                           Field(window.crop_begin[0]),
                           Field(window.crop_begin[1]),
                           Field(groups)};
  return Held{result, true};
}

absl::StatusOr<Held> Lowering::GridSampleReal(const Node& node) {
  const Shape shape = ShapeOf(node.outputs[0]);
  if (shape.size() != 4) return Refuse(node, "it samples what are no images");
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(int image, AsImage(held));
  DS_ASSIGN_OR_RETURN(image, Dense(image));
  DS_ASSIGN_OR_RETURN(const int grid, Operand(node.inputs[1]));
  const std::string mode = node.GetString("mode", "linear"),
                    padding = node.GetString("padding_mode", "zeros");
  const auto way = mode == "nearest"                      ? file::GridWay::kNearest
                   : mode == "cubic" || mode == "bicubic" ? file::GridWay::kCubic
                                                          : file::GridWay::kLinear;
  const auto beyond = padding == "border"       ? file::GridPadding::kBorder
                      : padding == "reflection" ? file::GridPadding::kReflection
                                                : file::GridPadding::kZeros;
  const int result =
      AddTensor(graph_.value(node.outputs[0]).name, Type::kFloat32, ImageDims(shape));
  Emit(OperatorKind::kGridSample, node, {image, grid}, result).parameters =
      file::GridSampleParameters{static_cast<uint32_t>(way), static_cast<uint32_t>(beyond),
                                 Field(node.GetInt("align_corners", 0) != 0)};
  return Held{result, true};
}

}  // namespace ds::engine::compile
