#include "executor/detours/convolution.h"

#include <algorithm>
#include <utility>

namespace ds::executor {

namespace {

bool All(at::IntArrayRef values, int64_t value) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == value; });
}

at::IntArrayRef Kernel(const at::Tensor& weight) { return weight.sizes().slice(2); }

at::Tensor ChannelsLast(const at::Tensor& tensor) {
  return tensor.dim() == 4 ? tensor.contiguous(at::MemoryFormat::ChannelsLast) : tensor;
}

at::Tensor Convolve(const at::Tensor& x, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias, const ConvWindow& window,
                    int64_t group) {
  const std::vector<int64_t> output_padding(window.strides.size(), 0);
  return at::convolution(ChannelsLast(x), weight, bias, window.strides, window.pads,
                         window.dilations, /*transposed=*/false, output_padding, group);
}

// The weight's gradient of a 1x1 convolution with a stride goes through a workspace of one element
// a channel, which is written as if it had a whole vector: the heap is damaged where channels are
// fewer (oneDNN's issue 6035).
bool OverrunsWorkspace(const at::Tensor& weight, const ConvWindow& window, int64_t group) {
  constexpr int64_t kWidestVector = 16;  // floats
  return weight.dim() == 4 && group == 1 && weight.size(1) < kWidestVector &&
         All(Kernel(weight), 1) && All(window.pads, 0) && !All(window.strides, 1);
}

// The pixels that a 1x1 kernel with these strides looks at.
at::Tensor EveryStride(const at::Tensor& x, const std::vector<int64_t>& strides) {
  return at::slice(at::slice(x, 2, 0, std::nullopt, strides[0]), 3, 0, std::nullopt, strides[1]);
}

// Below fp32, results one column wide and gradients of their weights come from memory that nobody
// wrote where the stride along the width is not 1.
bool MakesUpOneColumn(const at::Tensor& x, const at::Tensor& weight, const ConvWindow& window) {
  if (x.dim() < 4 || x.element_size() >= 4 || window.strides.back() == 1) return false;
  const int64_t reach = window.dilations.back() * (weight.size(-1) - 1) + 1;
  return x.size(-1) + 2 * window.pads.back() - reach < window.strides.back();
}

// So does the weight's gradient of a dilated convolution in groups, in bf16, from about 30 columns
// on. In fp32 it is right; a depthwise one is three times as fast there too.
bool MakesUpWeightGradient(const at::Tensor& weight, const ConvWindow& window, int64_t group) {
  return weight.scalar_type() == at::kBFloat16 && weight.dim() >= 4 && group > 1 &&
         weight.requires_grad() && !All(window.dilations, 1);
}

at::Tensor OnCpu(const at::Tensor& x, const at::Tensor& weight,
                 const std::optional<at::Tensor>& bias, ConvWindow window, int64_t group) {
  if (OverrunsWorkspace(weight, window, group)) {
    const at::Tensor seen = EveryStride(x, window.strides);
    window.strides.assign(window.strides.size(), 1);
    return Convolve(seen, weight, bias, window, group);
  }
  if (MakesUpWeightGradient(weight, window, group)) {
    std::optional<at::Tensor> wide_bias;
    if (bias.has_value()) wide_bias = bias->to(at::kFloat);
    return Convolve(x.to(at::kFloat), weight.to(at::kFloat), wide_bias, window, group)
        .to(x.scalar_type());
  }
  if (MakesUpOneColumn(x, weight, window)) {
    window.strides.back() = 1;  // the first column is the same, whatever the stride
    return Convolve(x, weight, bias, window, group).narrow(-1, 0, 1);
  }
  return Convolve(x, weight, bias, window, group);
}

}  // namespace

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, ConvWindow window, int64_t group) {
  return x.is_cpu() ? OnCpu(x, weight, bias, std::move(window), group)
                    : Convolve(x, weight, bias, window, group);
}

}  // namespace ds::executor
