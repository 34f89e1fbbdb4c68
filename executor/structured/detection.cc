// NonMaxSuppression, and RoiAlign (He et al. 2017, Mask R-CNN, section 3) by averages.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "executor/kernel.h"

namespace ds::executor {

namespace {

using Box = std::array<float, 4>;  // low and high of the first axis, low and high of the second

std::vector<Box> ReadBoxes(const at::Tensor& boxes, bool by_center) {
  std::vector<Box> read;
  const at::Tensor flat = boxes.to(at::kFloat).contiguous();
  const float* at = flat.const_data_ptr<float>();
  for (int64_t i = 0; i < flat.size(0); ++i, at += 4) {
    if (by_center) {
      read.push_back({at[0] - at[2] / 2, at[0] + at[2] / 2, at[1] - at[3] / 2, at[1] + at[3] / 2});
    } else {
      read.push_back({std::min(at[0], at[2]), std::max(at[0], at[2]), std::min(at[1], at[3]),
                      std::max(at[1], at[3])});
    }
  }
  return read;
}

float Overlap(const Box& a, const Box& b) {
  const float height = std::min(a[1], b[1]) - std::max(a[0], b[0]);
  const float width = std::min(a[3], b[3]) - std::max(a[2], b[2]);
  if (height <= 0 || width <= 0) return 0;
  const float shared = height * width;
  const float both = (a[1] - a[0]) * (a[3] - a[2]) + (b[1] - b[0]) * (b[3] - b[2]);
  return shared / (both - shared);
}

struct Limits {
  int64_t boxes = 0;  // a class
  float overlap = 0;
  std::optional<float> score;
};

// Indices of the boxes that stay, best first.
std::vector<int64_t> Suppress(const std::vector<Box>& boxes, const float* scores,
                              const Limits& limits) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < boxes.size(); ++i) {
    if (!limits.score || scores[i] > *limits.score) order.push_back(static_cast<int64_t>(i));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<int64_t> kept;
  for (const int64_t candidate : order) {
    if (static_cast<int64_t>(kept.size()) >= limits.boxes) break;
    const bool free = std::none_of(kept.begin(), kept.end(), [&](int64_t other) {
      return Overlap(boxes[static_cast<size_t>(candidate)], boxes[static_cast<size_t>(other)]) >
             limits.overlap;
    });
    if (free) kept.push_back(candidate);
  }
  return kept;
}

absl::StatusOr<Kernel> MakeNonMaxSuppression(const NodeView& view) {
  const bool by_center = view.node.GetInt("center_point_box", 0) != 0;
  const ScalarOperand most(view, 2, 0), overlap(view, 3, 0), score(view, 4, 0);
  return Kernel([=](const Call& call) {
    const at::Tensor scores = call.In(1).to(at::kFloat).contiguous();
    Limits limits{static_cast<int64_t>(most.Get(call)), static_cast<float>(overlap.Get(call)), {}};
    if (call.Has(4)) limits.score = static_cast<float>(score.Get(call));
    std::vector<int64_t> rows;
    for (int64_t n = 0; n < scores.size(0); ++n) {
      const std::vector<Box> boxes = ReadBoxes(call.In(0)[n], by_center);
      for (int64_t c = 0; c < scores.size(1); ++c) {
        const float* from =
            scores.const_data_ptr<float>() + (n * scores.size(1) + c) * scores.size(2);
        for (const int64_t i : Suppress(boxes, from, limits)) rows.insert(rows.end(), {n, c, i});
      }
    }
    at::Tensor out =
        at::empty({static_cast<int64_t>(rows.size()) / 3, 3}, at::TensorOptions(at::kLong));
    std::copy(rows.begin(), rows.end(), out.mutable_data_ptr<int64_t>());
    call.Set(0, out);
  });
}

// Where one axis of a region is sampled: the two neighbours of each point, the share of the
// higher one, and 1 or 0 for points within reach of the image.
struct AxisSamples {
  at::Tensor low, high, share, inside;
  int64_t per_bin = 1;
};

AxisSamples SampleAxis(double start, double end, int64_t bins, int64_t ratio, bool at_least_one,
                       int64_t extent, const at::TensorOptions& options) {
  double length = end - start;
  if (at_least_one) length = std::max(length, 1.0);
  const double bin = length / static_cast<double>(bins);
  AxisSamples samples;
  samples.per_bin = ratio > 0 ? ratio : static_cast<int64_t>(std::ceil(bin));
  samples.per_bin = std::max<int64_t>(samples.per_bin, 1);
  const int64_t count = bins * samples.per_bin;
  at::Tensor at = at::arange(count, options.dtype(at::kDouble));
  at = (at + 0.5) * (bin / static_cast<double>(samples.per_bin)) + start;
  samples.inside = at::logical_and(at::ge(at, -1.0), at::le(at, static_cast<double>(extent)));
  at = at::clamp(at, 0.0, static_cast<double>(extent - 1));
  samples.low = at::clamp(at::floor(at), 0.0, static_cast<double>(extent - 1)).to(at::kLong);
  samples.high = at::clamp(samples.low + 1, 0, extent - 1);
  samples.share = (at - samples.low).to(options.dtype());
  samples.inside = samples.inside.to(options.dtype());
  return samples;
}

// `image` [C, H, W] at all pairs of samples.
at::Tensor Interpolate(const at::Tensor& image, const AxisSamples& y, const AxisSamples& x) {
  const auto rows = [&](const at::Tensor& index) { return at::index_select(image, 1, index); };
  const at::Tensor share = y.share.unsqueeze(1);
  const at::Tensor lines = rows(y.low) * (1 - share) + rows(y.high) * share;
  const at::Tensor points = at::index_select(lines, 2, x.low) * (1 - x.share) +
                            at::index_select(lines, 2, x.high) * x.share;
  return points * y.inside.unsqueeze(1) * x.inside;
}

struct RoiOptions {
  int64_t height = 1, width = 1, ratio = 0;
  double scale = 1;
  bool half_pixel = true;
};

at::Tensor AlignRegion(const at::Tensor& image, const double* region, const RoiOptions& options) {
  const double offset = options.half_pixel ? 0.5 : 0.0;
  const auto edge = [&](int i) { return region[i] * options.scale - offset; };
  const AxisSamples x = SampleAxis(edge(0), edge(2), options.width, options.ratio,
                                   !options.half_pixel, image.size(2), image.options());
  const AxisSamples y = SampleAxis(edge(1), edge(3), options.height, options.ratio,
                                   !options.half_pixel, image.size(1), image.options());
  return Interpolate(image, y, x)
      .reshape({image.size(0), options.height, y.per_bin, options.width, x.per_bin})
      .mean(at::IntArrayRef({2, 4}));
}

absl::StatusOr<Kernel> MakeRoiAlign(const NodeView& view) {
  const Node& node = view.node;
  const RoiOptions options{
      .height = node.GetInt("output_height", 1),
      .width = node.GetInt("output_width", 1),
      .ratio = node.GetInt("sampling_ratio", 0),
      .scale = node.GetFloat("spatial_scale", 1.0F),
      .half_pixel = node.GetString("coordinate_transformation_mode", "half_pixel") == "half_pixel"};
  return Kernel([options](const Call& call) {
    const at::Tensor& x = call.In(0);
    const at::Tensor regions = call.In(1).detach().to(at::kDouble).contiguous();
    const at::Tensor batch = call.In(2).to(at::kLong).contiguous();
    std::vector<at::Tensor> parts;
    for (int64_t i = 0; i < regions.size(0); ++i) {
      const double* region = regions.const_data_ptr<double>() + 4 * i;
      parts.push_back(AlignRegion(x[batch.const_data_ptr<int64_t>()[i]], region, options));
    }
    call.Set(0, parts.empty()
                    ? at::zeros({0, x.size(1), options.height, options.width}, x.options())
                    : at::stack(parts));
  });
}

}  // namespace

void AddDetection(FactoryTable& table) {
  table["NonMaxSuppression"] = MakeNonMaxSuppression;
  table["RoiAlign"] = MakeRoiAlign;
}

}  // namespace ds::executor
