#include "quant/weight_params.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/affine_steps.h"
#include "quant/axis_split.h"

namespace ds {
namespace {

// Fractions of max|w| that kMse tries: 2^(-i / kStepsAnOctave), i in 0..kSteps; then about the best
// of them kFine times as many.
constexpr int kSteps = 160;
constexpr int kStepsAnOctave = 32;
constexpr int kFine = 16;
// Squares are summed in fp32 over a block, whose rounding errors stay small, and in double beyond.
constexpr size_t kBlock = 128;
constexpr size_t kLanes = 8;

// Sum of (w - scale * q)^2, q the nearest code.
double SquaredError(absl::Span<const float> values, const QuantType& type, float scale) {
  const auto low = static_cast<float>(type.min()), high = static_cast<float>(type.max());
  const auto error = [&](float value) {
    // In units of the scale: squares neither overflow nor vanish.
    const float steps = value / scale;
    float code = steps < low ? low : steps;
    code = code > high ? high : code;
    const float share = steps - ((code + kRoundingShift) - kRoundingShift);
    return share * share;
  };
  double sum = 0;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const float* block = values.data() + begin;
    const size_t count = std::min(kBlock, values.size() - begin);
    float sums[kLanes] = {};
    size_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += error(block[i + lane]);
    }
    for (; i < count; ++i) sums[0] += error(block[i]);
    for (const float lane : sums) sum += lane;
  }
  return sum * scale * scale;
}

float ChooseScale(absl::Span<const float> values, const QuantType& type, WeightRangeMethod method) {
  float limit = 0;
  for (const float value : values) limit = std::max(limit, std::fabs(value));
  const float widest = SymmetricScale(type, limit);
  if (limit == 0 || method == WeightRangeMethod::kMinMax) return widest;
  float best = widest;
  double least = SquaredError(values, type, widest), best_octaves = 0;
  const auto attempt = [&](double octaves) {
    if (octaves <= 0) return;
    const float scale = SymmetricScale(type, limit * static_cast<float>(std::exp2(-octaves)));
    const double error = SquaredError(values, type, scale);
    if (error >= least) return;
    least = error;
    best = scale;
    best_octaves = octaves;
  };
  for (int i = 1; i <= kSteps; ++i) attempt(i / double{kStepsAnOctave});
  const double middle = best_octaves;
  for (int i = 1 - kFine; i < kFine; ++i) attempt(middle + i / double{kStepsAnOctave * kFine});
  return best;
}

absl::Status CheckOptions(absl::Span<const float> values, absl::Span<const int64_t> shape,
                          const WeightQuantOptions& options) {
  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  const auto refuse = [&](auto... what) {
    return absl::InvalidArgumentError(
        absl::StrCat(what..., " (weight of shape ", ShapeString(shape), ")"));
  };
  if (count != static_cast<int64_t>(values.size()))
    return refuse(values.size(), " values do not fill the shape");
  const int rank = static_cast<int>(shape.size());
  if (options.axis != QuantParams::kWholeTensor && (options.axis < 0 || options.axis >= rank))
    return refuse("axis ", options.axis, " of a weight of rank ", rank);
  if (options.group != 0 && options.group != 32 && options.group != 64 && options.group != 128)
    return refuse("group is ", options.group, "; it must be 0, 32, 64 or 128");
  if (options.group != 0 && options.axis == QuantParams::kWholeTensor)
    return refuse("group is ", options.group, " without an axis");
  return absl::OkStatus();
}

absl::Status CheckFinite(absl::Span<const float> values, absl::Span<const int64_t> shape,
                         const WeightQuantOptions& options) {
  int64_t nans = 0, infinities = 0, first = -1;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    ++(std::isnan(values[i]) ? nans : infinities);
    if (first < 0) first = static_cast<int64_t>(i);
  }
  if (first < 0) return absl::OkStatus();
  std::string place = absl::StrCat("element ", first);
  if (options.axis != QuantParams::kWholeTensor) {
    const AxisSplit split = SplitAt(shape, options.axis);
    place = absl::StrCat("channel ", first / split.inner % split.extent, " of axis ", options.axis);
  }
  return absl::InvalidArgumentError(absl::StrCat(nans, " NaN and ", infinities,
                                                 " Inf among the weights, the first in ", place,
                                                 " (weight of shape ", ShapeString(shape), ")"));
}

// One scale for each index of the axis.
void ChooseForChannels(absl::Span<const float> values, const AxisSplit& split,
                       WeightRangeMethod method, QuantParams& params) {
  std::vector<float> channel(static_cast<size_t>(split.outer * split.inner));
  for (int64_t e = 0; e < split.extent; ++e) {
    for (int64_t o = 0; o < split.outer; ++o) {
      const float* from = values.data() + (o * split.extent + e) * split.inner;
      std::copy_n(from, split.inner, channel.begin() + o * split.inner);
    }
    params.scales.push_back(ChooseScale(channel, params.type, method));
  }
}

void ChooseForGroups(absl::Span<const float> values, const AxisSplit& split,
                     WeightRangeMethod method, QuantParams& params) {
  std::vector<float> group;
  for (int64_t o = 0; o < split.outer; ++o) {
    for (int64_t begin = 0; begin < split.extent; begin += params.group) {
      const int64_t end = std::min(split.extent, begin + params.group);
      for (int64_t i = 0; i < split.inner; ++i) {
        group.clear();
        for (int64_t e = begin; e < end; ++e)
          group.push_back(values[(o * split.extent + e) * split.inner + i]);
        params.scales.push_back(ChooseScale(group, params.type, method));
      }
    }
  }
}

}  // namespace

absl::StatusOr<QuantParams> ChooseWeightParams(absl::Span<const float> values,
                                               absl::Span<const int64_t> shape,
                                               const WeightQuantOptions& options) {
  QuantParams params = {.type = {.bits = options.bits, .is_signed = true, .narrow = options.narrow},
                        .axis = options.axis,
                        .group = options.group};
  DS_RETURN_IF_ERROR(CheckType(params.type));
  DS_RETURN_IF_ERROR(CheckOptions(values, shape, options));
  DS_RETURN_IF_ERROR(CheckFinite(values, shape, options));
  if (options.axis == QuantParams::kWholeTensor) {
    params.scales.push_back(ChooseScale(values, params.type, options.method));
  } else {
    const AxisSplit split = SplitAt(shape, options.axis);
    (options.group == 0 ? ChooseForChannels : ChooseForGroups)(values, split, options.method,
                                                               params);
  }
  params.zero_points.assign(params.scales.size(), 0);
  return params;
}

}  // namespace ds
