#include "deploy/engine/runtime/kernels/pack/pack.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

// The place of (channel, k) in a group's panels where a step is `step` of the depth.
int64_t PanelPlace(const ConvShape& shape, int32_t step, int32_t channel, int32_t k) {
  const int32_t first = channel / kPanel * kPanel;
  const int64_t width = PanelWidth(shape.out_channels - first);
  return first * RoundUp(shape.Depth(), step) + k / step * (width * step) +
         (channel - first) * step + k % step;
}

template <typename Put>
void ForWeights(const ConvShape& shape, Put put) {
  for (int32_t group = 0; group < shape.groups; ++group) {
    for (int32_t channel = 0; channel < shape.out_channels; ++channel) {
      const int64_t from =
          (static_cast<int64_t>(group) * shape.out_channels + channel) * shape.Depth();
      for (int32_t k = 0; k < shape.Depth(); ++k) put(group, channel, k, from + k);
    }
  }
}

// bias - zero_point * sum, and whether every sum of products on the way fits int32.
bool Fold(int64_t bias, int64_t sum, int64_t magnitudes, int32_t zero_point, int32_t* folded) {
  const int64_t value = bias - zero_point * sum;
  *folded = static_cast<int32_t>(value);
  return std::abs(value) + 255 * magnitudes <= std::numeric_limits<int32_t>::max();
}

}  // namespace

int64_t PaddedChannels(const ConvShape& shape) {
  return shape.groups * RoundUp(shape.out_channels, kChannelBlock);
}
int64_t PaddedDepthwiseChannels(const ConvShape& shape) {
  return RoundUp(shape.groups, kDepthwiseBlock);
}

int64_t PackedConvBytes(Isa, const ConvShape& shape, const int8_t*) {
  return shape.groups * Group8Bytes(shape);
}

void PackConv(Isa isa, const ConvShape& shape, const int8_t* weights, uint8_t* packed) {
  std::fill_n(packed, PackedConvBytes(isa, shape, weights), uint8_t{0});
  ForWeights(shape, [&](int32_t group, int32_t channel, int32_t k, int64_t from) {
    packed[group * Group8Bytes(shape) + PanelPlace(shape, 4, channel, k)] =
        static_cast<uint8_t>(weights[from]);
  });
}

int64_t PackedConv4Bytes(Isa, const ConvShape& shape) { return shape.groups * Group4Bytes(shape); }

void PackConv4(Isa isa, const ConvShape& shape, const int8_t* weights, uint8_t* packed) {
  std::fill_n(packed, PackedConv4Bytes(isa, shape), uint8_t{0});
  ForWeights(shape, [&](int32_t group, int32_t channel, int32_t k, int64_t from) {
    const int32_t first = channel / kPanel * kPanel;
    const int64_t width = PanelWidth(shape.out_channels - first);
    const int64_t place =
        first * RoundUp(shape.Depth(), 8) / 2 + k / 8 * (width * 4) + (channel - first) * 4 + k % 4;
    const int value = weights[from] & 0xf;
    packed[group * Group4Bytes(shape) + place] |=
        static_cast<uint8_t>(k % 8 < 4 ? value : value << 4);
  });
}

int64_t PackedDepthwiseBytes(Isa, const ConvShape& shape) { return DepthwiseBytes(shape); }

void PackDepthwise(Isa isa, const ConvShape& shape, const int8_t* weights, uint8_t* packed) {
  std::fill_n(packed, PackedDepthwiseBytes(isa, shape), uint8_t{0});
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx) {
      for (int32_t channel = 0; channel < shape.groups; ++channel) {
        packed[DepthwisePlace(shape, ky, kx, channel)] =
            static_cast<uint8_t>(*weights++);  // [ky][kx][channel]
      }
    }
  }
}

bool FoldBias(const ConvShape& shape, const int8_t* weights, const int32_t* bias,
              int32_t zero_point, int32_t* folded) {
  std::fill_n(folded, PaddedChannels(shape), 0);
  const int64_t padded = RoundUp(shape.out_channels, kChannelBlock);
  bool fits = shape.Depth() <= kMaxDepth;
  for (int64_t channel = 0; channel < static_cast<int64_t>(shape.groups) * shape.out_channels;
       ++channel) {
    int64_t sum = 0, magnitudes = 0;
    for (int32_t k = 0; k < shape.Depth(); ++k) {
      sum += weights[channel * shape.Depth() + k];
      magnitudes += std::abs(weights[channel * shape.Depth() + k]);
    }
    const int64_t place = channel / shape.out_channels * padded + channel % shape.out_channels;
    fits &= Fold(bias ? bias[channel] : 0, sum, magnitudes, zero_point, folded + place);
  }
  return fits;
}

bool FoldDepthwiseBias(const ConvShape& shape, const int8_t* weights, const int32_t* bias,
                       int32_t zero_point, int32_t* folded) {
  std::fill_n(folded, PaddedDepthwiseChannels(shape), 0);
  bool fits = true;
  for (int32_t channel = 0; channel < shape.groups; ++channel) {
    int64_t sum = 0, magnitudes = 0;
    for (int32_t tap = 0; tap < shape.kernel_h * shape.kernel_w; ++tap) {
      const int8_t weight = weights[static_cast<int64_t>(tap) * shape.groups + channel];
      sum += weight;
      magnitudes += std::abs(weight);
    }
    fits &= Fold(bias ? bias[channel] : 0, sum, magnitudes, zero_point, folded + channel);
  }
  return fits;
}

void PadChannels(const ConvShape& shape, const float* values, float* padded) {
  std::fill_n(padded, PaddedChannels(shape), 0.0f);
  const int64_t block = RoundUp(shape.out_channels, kChannelBlock);
  for (int64_t group = 0; values && group < shape.groups; ++group)
    std::copy_n(values + group * shape.out_channels, shape.out_channels, padded + group * block);
}

void PadDepthwiseChannels(const ConvShape& shape, const float* values, float* padded) {
  std::fill_n(padded, PaddedDepthwiseChannels(shape), 0.0f);
  if (values) std::copy_n(values, shape.groups, padded);
}

int64_t PackedConvF32Floats(Isa, const ConvShape& shape) {
  return shape.groups * GroupF32Floats(shape);
}

void PackConvF32(Isa isa, const ConvShape& shape, const float* weights, float* packed) {
  std::fill_n(packed, PackedConvF32Floats(isa, shape), 0.0f);
  ForWeights(shape, [&](int32_t group, int32_t channel, int32_t k, int64_t from) {
    packed[group * GroupF32Floats(shape) + PanelPlace(shape, 1, channel, k)] = weights[from];
  });
}

int64_t PackedDepthwiseF32Floats(Isa, const ConvShape& shape) { return DepthwiseF32Floats(shape); }

void PackDepthwiseF32(Isa isa, const ConvShape& shape, const float* weights, float* packed) {
  std::fill_n(packed, PackedDepthwiseF32Floats(isa, shape), 0.0f);
  for (int32_t tap = 0; tap < shape.kernel_h * shape.kernel_w; ++tap) {
    std::copy_n(weights + static_cast<int64_t>(tap) * shape.groups, shape.groups,
                packed + tap * RoundUp(shape.groups, kDepthwiseBlock));
  }
}

void SoftmaxTable(float scale, int32_t columns, int32_t* exponent) {
  double one = 0x1p22;
  while (one * columns >= 0x1p31) one /= 2;
  for (int32_t i = 0; i < 256; ++i)
    exponent[i] =
        static_cast<int32_t>(std::lrint(std::exp((i - 255) * static_cast<double>(scale)) * one));
}

}  // namespace ds::engine
