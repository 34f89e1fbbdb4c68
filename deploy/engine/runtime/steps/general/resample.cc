// Images of other sizes: weighted sums along an axis, a transposed convolution's windows added up
// where they lie, and samples at computed places.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::Type;

bool IsConstant(const file::Tensor& tensor) {
  return tensor.place == static_cast<uint8_t>(file::Place::kConstant);
}

// What a pixel of the output reads of each axis: places, and how much of each.
constexpr int kMostTaps = 4;
struct Taps {
  int64_t at[kMostTaps];  // -1: outside
  float weight[kMostTaps];
  int count = 0;
};

float Reflected(float x, float low, float high) {
  const float width = high - low;
  if (!(width > 0)) return low;
  float from = std::fabs(x - low);
  const float turns = std::floor(from / width);
  from -= turns * width;
  return std::fmod(turns, 2.0f) == 0 ? low + from : high - from;
}

struct GridAxis {
  int64_t extent;
  file::GridPadding padding;
  bool corners;
  file::GridWay way;

  float Place(float x) const {
    const auto size = static_cast<float>(extent);
    return corners ? (x + 1) / 2 * (size - 1) : ((x + 1) * size - 1) / 2;
  }
  float Padded(float x) const {
    const auto size = static_cast<float>(extent);
    if (padding == file::GridPadding::kReflection) {
      x = corners ? Reflected(x, 0, size - 1) : Reflected(x, -0.5f, size - 0.5f);
    }
    return padding == file::GridPadding::kZeros ? x : std::clamp(x, 0.0f, size - 1);
  }
  // Also of what is no number, or far outside.
  int64_t Pixel(float x) const {
    x = Padded(x);
    return x >= 0 && x <= static_cast<float>(extent - 1) ? static_cast<int64_t>(x) : -1;
  }
  Taps At(float grid) const {
    float x = Place(grid);
    Taps taps;
    if (way == file::GridWay::kNearest) {
      taps.count = 1;
      taps.at[0] = Pixel(std::nearbyint(Padded(x)));
      taps.weight[0] = 1;
      return taps;
    }
    if (way == file::GridWay::kLinear) x = Padded(x);
    const float low = std::floor(x), t = x - low;
    if (way == file::GridWay::kLinear) {
      taps.count = 2;
      taps.weight[0] = 1 - t;
      taps.weight[1] = t;
      for (int i = 0; i < 2; ++i) {
        const float place = low + static_cast<float>(i);
        const bool inside = place >= 0 && place <= static_cast<float>(extent - 1);
        taps.at[i] = inside ? static_cast<int64_t>(place) : -1;
      }
      return taps;
    }
    // Keys 1981, a = -0.75.
    constexpr float kA = -0.75f;
    const auto near = [&](float d) { return ((kA + 2) * d - (kA + 3)) * d * d + 1; };
    const auto far = [&](float d) { return ((kA * d - 5 * kA) * d + 8 * kA) * d - 4 * kA; };
    const float weights[] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
    taps.count = 4;
    for (int i = 0; i < 4; ++i) {
      taps.weight[i] = weights[i];
      taps.at[i] = Pixel(low - 1 + static_cast<float>(i));
    }
    return taps;
  }
};

}  // namespace

Status MakeResample(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::ResampleParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 4));
  const file::Tensor &in = binding.input(0), &which = binding.input(1), &weights = binding.input(2),
                     &offsets = binding.input(3), &out = binding.output();
  if (!Is(in, Type::kFloat32) || !Is(out, Type::kFloat32) || !Is(which, Type::kInt32) ||
      !Is(weights, Type::kFloat32) || !Is(offsets, Type::kFloat32) || !IsConstant(which) ||
      !IsConstant(weights) || !IsConstant(offsets)) {
    return binding.Error("takes floats, and constant indices, weights and offsets");
  }
  if (!Holds(in, p->outer, p->extent, p->inner) || !Holds(out, p->outer, p->count, p->inner) ||
      !Holds(which, p->count, p->taps) || !Holds(weights, p->count, p->taps) ||
      !Holds(offsets, p->count)) {
    return binding.Error("has tensors of other sizes than its extents");
  }
  const auto* indices = ReadAs<int32_t>(binding, 1);
  for (int64_t i = 0; i < Elements(which); ++i) {
    if (indices[i] < 0 || indices[i] >= static_cast<int64_t>(p->extent)) {
      return binding.Error("has an index outside of its axis");
    }
  }
  const auto *from = ReadAs<float>(binding, 0), *shares = ReadAs<float>(binding, 2),
             *added = ReadAs<float>(binding, 3);
  auto* to = WriteAs<float>(binding);
  const int64_t count = p->count, taps = p->taps, inner = p->inner, extent = p->extent;
  const int64_t units = int64_t{p->outer} * count;
  step = MakeWork(units, units * inner * taps, [=](Range range, void*) {
    for (int64_t unit = range.begin; unit < range.end; ++unit) {
      const int64_t place = unit % count;
      const float* x = from + unit / count * extent * inner;
      float* y = to + unit * inner;
      std::fill_n(y, inner, added[place]);
      for (int64_t tap = place * taps; tap < (place + 1) * taps; ++tap) {
        const float* row = x + indices[tap] * inner;
        const float weight = shares[tap];
        for (int64_t i = 0; i < inner; ++i) y[i] += weight * row[i];
      }
    }
  });
  return {};
}

Status MakeFold(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::FoldParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 2));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(Type::kFloat32, Type::kFloat32));
  const file::FoldParameters p = *parameters;
  const file::Tensor &in = binding.input(0), &bias = binding.input(1), &out = binding.output();
  for (const uint32_t field : {p.in_h, p.in_w, p.kernel_h, p.kernel_w, p.stride_h, p.stride_w,
                               p.dilation_h, p.dilation_w, p.groups}) {
    if (field == 0 || field > static_cast<uint32_t>(kMaxExtent)) {
      return binding.Error("has a window out of range");
    }
  }
  const Extents to = ImageExtents(out);
  const auto all = static_cast<uint32_t>(to.c);
  if (p.pad_top > static_cast<uint32_t>(kMaxExtent) ||
      p.pad_left > static_cast<uint32_t>(kMaxExtent) || all % p.groups != 0 || !Holds(bias, all) ||
      !Holds(in, static_cast<uint32_t>(to.n), p.in_h, p.in_w, p.kernel_h, p.kernel_w, all)) {
    return binding.Error("has tensors of other sizes than its window");
  }
  const auto *from = ReadAs<float>(binding, 0), *first = ReadAs<float>(binding, 1);
  auto* result = WriteAs<float>(binding);
  const int64_t channels = all / p.groups, taps = int64_t{p.kernel_h} * p.kernel_w;
  const int64_t rows = int64_t{to.n} * to.h;
  step = MakeWork(rows, Elements(in), [=](Range range, void*) {
    for (int64_t row = range.begin; row < range.end; ++row) {
      const int64_t image = row / to.h, y = row % to.h + p.pad_top;
      float* line = result + row * to.w * all;
      for (int64_t x = 0; x < to.w; ++x) std::copy_n(first, all, line + x * all);
      for (int64_t k = 0; k < p.kernel_h; ++k) {
        const int64_t above = y - k * p.dilation_h;
        if (above < 0 || above % p.stride_h != 0 || above / p.stride_h >= p.in_h) continue;
        const float* pixels = from + (image * p.in_h + above / p.stride_h) * p.in_w * taps * all;
        for (int64_t j = 0; j < p.in_w; ++j) {
          for (int64_t l = 0; l < p.kernel_w; ++l) {
            const int64_t x = j * p.stride_w + l * p.dilation_w - p.pad_left;
            if (x < 0 || x >= to.w) continue;
            for (int64_t g = 0; g < p.groups; ++g) {
              const float* tap =
                  pixels + (j * p.groups + g) * taps * channels + (k * p.kernel_w + l) * channels;
              float* pixel = line + x * all + g * channels;
              for (int64_t c = 0; c < channels; ++c) pixel[c] += tap[c];
            }
          }
        }
      }
    }
  });
  return {};
}

Status MakeGridSample(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::GridSampleParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 2));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(Type::kFloat32, Type::kFloat32));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->align_corners));
  const file::Tensor &in = binding.input(0), &grid = binding.input(1), &out = binding.output();
  if (in.rank != 4 || out.rank != 4 || grid.rank != 4 || in.dims[0] != out.dims[0] ||
      in.dims[3] != out.dims[3] || grid.dims[0] != out.dims[0] || grid.dims[1] != out.dims[1] ||
      grid.dims[2] != out.dims[2] || grid.dims[3] != 2 || p->way > 2 || p->padding > 2) {
    return binding.Error("has an image, a grid and a result that do not fit");
  }
  const auto padding = static_cast<file::GridPadding>(p->padding);
  const auto way = static_cast<file::GridWay>(p->way);
  const GridAxis vertical{in.dims[1], padding, p->align_corners != 0, way};
  const GridAxis horizontal{in.dims[2], padding, p->align_corners != 0, way};
  const auto *from = ReadAs<float>(binding, 0), *places = ReadAs<float>(binding, 1);
  auto* to = WriteAs<float>(binding);
  const int64_t pixels = int64_t{out.dims[1]} * out.dims[2], channels = in.dims[3];
  const int64_t units = out.dims[0] * pixels;
  step = MakeWork(units, 4 * units * channels, [=](Range range, void*) {
    for (int64_t unit = range.begin; unit < range.end; ++unit) {
      const float* image = from + unit / pixels * vertical.extent * horizontal.extent * channels;
      const Taps across = horizontal.At(places[2 * unit]), down = vertical.At(places[2 * unit + 1]);
      float* pixel = to + unit * channels;
      std::fill_n(pixel, channels, 0.0f);
      for (int i = 0; i < down.count; ++i) {
        for (int j = 0; j < across.count; ++j) {
          if (down.at[i] < 0 || across.at[j] < 0) continue;
          const float weight = down.weight[i] * across.weight[j];
          const float* x = image + (down.at[i] * horizontal.extent + across.at[j]) * channels;
          for (int64_t c = 0; c < channels; ++c) pixel[c] += weight * x[c];
        }
      }
    }
  });
  return {};
}

}  // namespace ds::engine
