#include "quant/affine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "quant/affine_steps.h"
#include "quant/axis_split.h"

namespace ds {
namespace {

int64_t Groups(int64_t extent, int64_t group) { return extent / group + (extent % group != 0); }

// Visits all elements as contiguous runs: shared(begin, count, s), where they have scale s in
// common, or each(begin, count, s), where element begin + i has scale s + i.
template <typename Shared, typename Each>
void ForEachRun(const QuantParams& params, absl::Span<const int64_t> shape, int64_t count,
                const Shared& shared, const Each& each) {
  if (count == 0) return;
  if (params.axis == QuantParams::kWholeTensor) return shared(int64_t{0}, count, int64_t{0});
  const auto [outer, extent, inner] = SplitAt(shape, params.axis);
  if (params.group == 0) {
    for (int64_t o = 0; o < outer; ++o) {
      const int64_t begin = o * extent * inner;
      if (inner == 1) {
        each(begin, extent, int64_t{0});
      } else {
        for (int64_t e = 0; e < extent; ++e) shared(begin + e * inner, inner, e);
      }
    }
    return;
  }
  const int64_t groups = Groups(extent, params.group);
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t from = g * params.group, to = from + std::min(params.group, extent - from);
      const int64_t scale = (o * groups + g) * inner;
      if (inner == 1) {
        shared(o * extent + from, to - from, scale);
      } else {
        for (int64_t e = from; e < to; ++e) each((o * extent + e) * inner, inner, scale);
      }
    }
  }
}

// The bounds of QuantSteps for a zero point.
struct Bounds {
  float low, high;
};

Bounds BoundsOf(const QuantType& type, int32_t zero_point) {
  return {static_cast<float>(type.min() - zero_point), static_cast<float>(type.max() - zero_point)};
}

// The scale, or the greatest whose product with `most` steps is finite.
float FiniteScale(float scale, int32_t most) {
  const auto steps = static_cast<float>(most);
  scale = std::min(scale, std::numeric_limits<float>::max() / steps);
  while (!std::isfinite(scale * steps)) scale = std::nextafter(scale, 0.0f);
  return scale;
}

void CheckSizes(size_t values, absl::Span<const int64_t> shape, const QuantParams& params,
                size_t out) {
  const absl::Status status = CheckParams(params, shape);
  DS_CHECK(status.ok()) << status.message();
  DS_CHECK(values == static_cast<size_t>(*NumElements(shape)) && values == out)
      << values << " values and room for " << out << ", shape " << ShapeString(shape);
}

// out[i] = map(values[i], its scale, its zero point).
template <typename From, typename To, typename Map>
void MapElements(absl::Span<const From> values, absl::Span<const int64_t> shape,
                 const QuantParams& params, absl::Span<To> out, const Map& map) {
  CheckSizes(values.size(), shape, params, out.size());
  // The loops below work on copies in registers, which no store to `out` can change.
  const auto shared = [&](int64_t begin, int64_t count, int64_t s) {
    const Map element = map;
    const float scale = params.scales[s];
    const int32_t zero_point = params.zero_points[s];
    const From* from = values.data() + begin;
    To* to = out.data() + begin;
    for (int64_t i = 0; i < count; ++i) to[i] = element(from[i], scale, zero_point);
  };
  const auto each = [&](int64_t begin, int64_t count, int64_t s) {
    const Map element = map;
    const float* scales = params.scales.data() + s;
    const int32_t* zero_points = params.zero_points.data() + s;
    const From* from = values.data() + begin;
    To* to = out.data() + begin;
    for (int64_t i = 0; i < count; ++i) to[i] = element(from[i], scales[i], zero_points[i]);
  };
  ForEachRun(params, shape, static_cast<int64_t>(values.size()), shared, each);
}

}  // namespace

absl::Status CheckType(const QuantType& type) {
  if (type.bits < 2 || type.bits > 8)
    return absl::InvalidArgumentError(absl::StrCat("bits is ", type.bits, "; it must be 2 to 8"));
  if (type.narrow && !type.is_signed)
    return absl::InvalidArgumentError("narrow is of signed types only");
  return absl::OkStatus();
}

absl::StatusOr<QuantParams> ParamsForRange(const QuantType& type, float low, float high) {
  DS_RETURN_IF_ERROR(CheckType(type));
  if (!std::isfinite(low) || !std::isfinite(high) || low > high) {
    return absl::InvalidArgumentError(absl::StrCat("no quantisation for the range [", low, ", ",
                                                   high, "]: its ends must be finite, in order"));
  }
  low = std::min(low, 0.0f);
  high = std::max(high, 0.0f);
  if (type.is_signed) {
    return QuantParams{
        .type = type, .scales = {SymmetricScale(type, std::max(-low, high))}, .zero_points = {0}};
  }
  if (low == high) return QuantParams{.type = type, .scales = {1.0f}, .zero_points = {0}};
  // In double: high - low may be beyond the greatest float.
  const float steps = static_cast<float>(type.max());
  const float scale = std::max(static_cast<float>((static_cast<double>(high) - low) / steps),
                               std::numeric_limits<float>::min());
  const int32_t zero_point = QuantSteps(-low, scale, 0.0f, steps);
  const int32_t most = std::max(type.max() - zero_point, zero_point);
  return QuantParams{
      .type = type, .scales = {FiniteScale(scale, most)}, .zero_points = {zero_point}};
}

float SymmetricScale(const QuantType& type, float limit) {
  if (limit == 0) return 1.0f;
  const float scale =
      std::max(limit / static_cast<float>(type.max()), std::numeric_limits<float>::min());
  return FiniteScale(scale, -type.min());
}

absl::Status CheckParams(const QuantParams& params, absl::Span<const int64_t> shape) {
  DS_RETURN_IF_ERROR(CheckType(params.type));
  DS_RETURN_IF_ERROR(NumElements(shape).status());
  const auto refuse = [&](auto... what) {
    return absl::InvalidArgumentError(
        absl::StrCat(what..., " (tensor of shape ", ShapeString(shape), ")"));
  };
  const int rank = static_cast<int>(shape.size());
  if (params.axis != QuantParams::kWholeTensor && (params.axis < 0 || params.axis >= rank))
    return refuse("axis ", params.axis, " of a quantised tensor of rank ", rank);
  if (params.group < 0) return refuse("group is ", params.group);
  if (params.group > 0 && params.axis == QuantParams::kWholeTensor)
    return refuse("group is ", params.group, " without an axis");

  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(ScaleShape(params, shape)));
  if (static_cast<int64_t>(params.scales.size()) != count)
    return refuse(params.scales.size(), " scales where ", count, " are needed");
  if (params.zero_points.size() != params.scales.size())
    return refuse(params.zero_points.size(), " zero points for ", params.scales.size(), " scales");
  for (size_t i = 0; i < params.scales.size(); ++i) {
    if (!std::isfinite(params.scales[i]) || params.scales[i] <= 0)
      return refuse("scale ", i, " is ", params.scales[i], "; it must be finite and positive");
    if (params.zero_points[i] < params.type.min() || params.zero_points[i] > params.type.max()) {
      return refuse("zero point ", i, " is ", params.zero_points[i], ", not in ", params.type.min(),
                    "..", params.type.max());
    }
  }
  return absl::OkStatus();
}

Shape ScaleShape(const QuantParams& params, absl::Span<const int64_t> shape) {
  if (params.axis == QuantParams::kWholeTensor) return {};
  DS_CHECK(params.axis >= 0 && params.axis < static_cast<int>(shape.size()))
      << "axis " << params.axis << ", shape " << ShapeString(shape);
  const int64_t extent = shape[params.axis];
  if (params.group == 0) return {extent};
  Shape scales(shape.begin(), shape.end());
  scales[params.axis] = Groups(extent, params.group);
  return scales;
}

void QuantizeValues(absl::Span<const float> values, absl::Span<const int64_t> shape,
                    const QuantParams& params, absl::Span<int32_t> out) {
  MapElements(values, shape, params, out,
              [type = params.type](float value, float scale, int32_t zero_point) {
                const auto [low, high] = BoundsOf(type, zero_point);
                return QuantSteps(value, scale, low, high) + zero_point;
              });
}

void DequantizeValues(absl::Span<const int32_t> codes, absl::Span<const int64_t> shape,
                      const QuantParams& params, absl::Span<float> out) {
  MapElements(codes, shape, params, out, [](int32_t code, float scale, int32_t zero_point) {
    return static_cast<float>(code - zero_point) * scale;
  });
}

void FakeQuantize(absl::Span<const float> values, absl::Span<const int64_t> shape,
                  const QuantParams& params, absl::Span<float> out) {
  MapElements(values, shape, params, out,
              [type = params.type](float value, float scale, int32_t zero_point) {
                const auto [low, high] = BoundsOf(type, zero_point);
                return static_cast<float>(QuantSteps(value, scale, low, high)) * scale;
              });
}

}  // namespace ds
