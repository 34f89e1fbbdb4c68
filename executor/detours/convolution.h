// at::convolution in channels_last order, led around what oneDNN 3.12 (LibTorch 2.13) gets wrong on
// processors with AVX2 or newer; docs/executor.md has the list, tests/executor/conv_sweep_test.cc
// the sweep that found it and says when a detour may go.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ATen/ATen.h"

namespace ds::executor {

// One element an image axis, in ONNX's units.
struct ConvWindow {
  std::vector<int64_t> strides;
  std::vector<int64_t> pads;  // the same before and behind
  std::vector<int64_t> dilations;
};

// `x` [N, C, image...], `weight` [M, C / group, kernel...] and `bias` [M] of one type; the result
// is of that type too. Differentiable. Throws c10::Error as at::convolution does.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, ConvWindow window, int64_t group);

}  // namespace ds::executor
