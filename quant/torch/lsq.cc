#include "quant/torch/lsq.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "quant/torch/lsq_kernels.h"
#include "torch/csrc/autograd/custom_function.h"

namespace ds {
namespace {

// Elements of a chunk. Fixed, so that sums do not depend on the number of threads.
constexpr int64_t kChunk = 16384;
// Memory as [outer, channels, inner], a step for each channel.
struct Layout {
  int64_t outer = 1, channels = 1, inner = 1;
};

// `v` must be contiguous, or dense with axis 0 outermost (channels_last weights).
Layout LayoutOf(const at::Tensor& v, int axis) {
  if (axis == QuantParams::kWholeTensor) return {1, 1, v.numel()};
  Layout layout;
  for (int64_t i = 0; i < axis; ++i) layout.outer *= v.size(i);
  layout.channels = v.size(axis);
  for (int64_t i = axis + 1; i < v.dim(); ++i) layout.inner *= v.size(i);
  return layout;
}

LsqBounds BoundsOf(const LsqOptions& options) {
  return {static_cast<float>(options.type.min() - options.zero_point),
          static_cast<float>(options.type.max() - options.zero_point)};
}

// body(offset, count, channel, run) for pieces of one channel each, in parallel; `runs` of them in
// all.
template <typename Body>
int64_t ForRuns(const Layout& layout, const Body& body) {
  const int64_t pieces = std::max<int64_t>(1, (layout.inner + kChunk - 1) / kChunk);
  const int64_t runs = layout.outer * layout.channels * pieces;
  const int64_t grain =
      std::max<int64_t>(1, kChunk / std::max<int64_t>(1, std::min(layout.inner, kChunk)));
  at::parallel_for(0, runs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      const int64_t row = run / pieces, from = run % pieces * kChunk;
      body(row * layout.inner + from, std::min(kChunk, layout.inner - from), row % layout.channels,
           run);
    }
  });
  return runs;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct LsqFunction : torch::autograd::Function<LsqFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& v, const at::Tensor& step,
                            const LsqOptions& options) {
    context->save_for_backward({v, step});
    context->saved_data["bits"] = static_cast<int64_t>(options.type.bits);
    context->saved_data["signed"] = options.type.is_signed;
    context->saved_data["narrow"] = options.type.narrow;
    context->saved_data["axis"] = static_cast<int64_t>(options.axis);
    context->saved_data["zero_point"] = static_cast<int64_t>(options.zero_point);
    context->saved_data["gradient_scale"] = options.gradient_scale;
    at::Tensor out = at::empty_like(v);
    const float* from = v.const_data_ptr<float>();
    const float* steps = step.const_data_ptr<float>();
    float* to = out.data_ptr<float>();
    ForRuns(
        LayoutOf(v, options.axis),
        [&, bounds = BoundsOf(options)](int64_t offset, int64_t count, int64_t channel, int64_t) {
          LsqQuantize(from + offset, to + offset, count, steps[channel], bounds);
        });
    return out;
  }

  static LsqOptions Options(AutogradContext* context) {
    auto& saved = context->saved_data;
    return {.type = {.bits = static_cast<int>(saved["bits"].toInt()),
                     .is_signed = saved["signed"].toBool(),
                     .narrow = saved["narrow"].toBool()},
            .axis = static_cast<int>(saved["axis"].toInt()),
            .zero_point = static_cast<int32_t>(saved["zero_point"].toInt()),
            .gradient_scale = saved["gradient_scale"].toDouble()};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &v = saved[0], &step = saved[1];
    const LsqOptions options = Options(context);
    at::Tensor gradient = gradients[0].to(at::kFloat);
    if (gradient.strides() != v.strides()) gradient = at::empty_like(v).copy_(gradient);
    at::Tensor of_v = at::empty_like(v);
    const Layout layout = LayoutOf(v, options.axis);
    const int64_t pieces = std::max<int64_t>(1, (layout.inner + kChunk - 1) / kChunk);
    std::vector<double> sums(static_cast<size_t>(layout.outer * layout.channels * pieces));
    const float *values = v.const_data_ptr<float>(), *steps = step.const_data_ptr<float>(),
                *in = gradient.const_data_ptr<float>();
    float* out = of_v.data_ptr<float>();
    ForRuns(layout, [&, bounds = BoundsOf(options)](int64_t offset, int64_t count, int64_t channel,
                                                    int64_t run) {
      sums[static_cast<size_t>(run)] = LsqDifferentiate(values + offset, in + offset, out + offset,
                                                        count, steps[channel], bounds);
    });
    std::vector<double> totals(static_cast<size_t>(layout.channels));
    for (size_t run = 0; run < sums.size(); ++run) {
      totals[run / static_cast<size_t>(pieces) % totals.size()] += sums[run];
    }
    at::Tensor of_step = at::empty_like(step);
    for (size_t c = 0; c < totals.size(); ++c)
      of_step.data_ptr<float>()[c] = static_cast<float>(totals[c] * options.gradient_scale);
    return {of_v, of_step, {}};
  }
};

// In fp32, memory laid out as the kernels take it.
at::Tensor Operand(const at::Tensor& v, int axis) {
  const at::Tensor full = v.scalar_type() == at::kFloat ? v : v.to(at::kFloat);
  const bool any_order = axis == QuantParams::kWholeTensor && full.is_non_overlapping_and_dense();
  const bool channels_last =
      axis == 0 && full.dim() == 4 && full.is_contiguous(at::MemoryFormat::ChannelsLast);
  return any_order || channels_last ? full : full.contiguous();
}

}  // namespace

at::Tensor LsqFakeQuantize(const at::Tensor& v, const at::Tensor& step, const LsqOptions& options) {
  const int64_t steps = options.axis == QuantParams::kWholeTensor ? 1 : v.size(options.axis);
  TORCH_CHECK(step.numel() == steps && step.scalar_type() == at::kFloat && step.is_contiguous(),
              "LSQ wants ", steps, " fp32 steps and got ", step.numel(), " of ",
              step.scalar_type());
  return LsqFunction::apply(Operand(v, options.axis), step, options);
}

double LsqGradientScale(int64_t count, const QuantType& type) {
  return 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, count)) * type.max());
}

at::Tensor LsqInitialStep(const at::Tensor& v, int axis, const QuantType& type) {
  const at::Tensor magnitudes = v.detach().abs().to(at::kDouble);
  at::Tensor mean;
  if (axis == QuantParams::kWholeTensor) {
    mean = magnitudes.mean().reshape({1});
  } else {
    mean = magnitudes.movedim(axis, 0).reshape({v.size(axis), -1}).mean(1);
  }
  return (mean * (2 / std::sqrt(static_cast<double>(type.max())))).to(at::kFloat).contiguous();
}

}  // namespace ds
