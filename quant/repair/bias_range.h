// Keeps a layer's integer sums within int32: codes of weights times codes of inputs, plus the bias.
//
// A bias has the scale input scale * weight scale. Where a channel's weights are nearly dead its
// scale is tiny, and the bias has no 32-bit code. The mend: a greater scale for that channel. Its
// weights are then rounded more coarsely, which costs little, since beside such a bias they count
// for little (Nagel et al., "A White Paper on Neural Network Quantization", 2021, have biases in
// int32 and leave this case out).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "quant/affine.h"

namespace ds {

// Most that a bias code may be: half of int32's range is left to the sum of products.
inline constexpr double kMostBiasCode = 1073741824.0;  // 2^30
// Most that |sum of products| + |bias code| may be.
inline constexpr double kMostSum = 2147483647.0;  // 2^31 - 1

// One Conv, Gemm or MatMul with a constant weight.
struct LayerSums {
  absl::Span<const float> weights;  // row-major, of `shape`, finite
  absl::Span<const int64_t> shape;  // Conv [M, C / groups, kH, kW]; Gemm [N, K] or [K, N]
  int channel_axis = 0;             // along which output channels run
  absl::Span<const float> bias;     // one a channel, finite; empty if there is none
  float input_scale = 1;            // > 0
  int64_t most_input = 0;           // greatest |code - zero point| of the input
};

// Greatest |code - zero point| of a value with one scale.
int64_t MostInput(const QuantParams& input);

// Raises scales of `params` (of the whole tensor, or one an index of channel_axis; anything else
// is left alone) by as little as fp32 can, until for every channel
//   |bias| / (input_scale * scale) <= kMostBiasCode,
//   sum over its weights of |code| * most_input + |bias code| <= kMostSum,
// and input_scale * scale is a normal number. Returns the channels, ascending, that needed it. A
// scale that would have to exceed fp32's range becomes Inf: callers look for that.
std::vector<int64_t> RaiseScalesForInt32(const LayerSums& layer, QuantParams& params);

}  // namespace ds
