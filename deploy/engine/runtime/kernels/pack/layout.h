// The layouts of packed weights, shared by the functions that pack and the kernels that read.
//
// Matrix products (conv8, conv4, conv_f32), group after group: panels of 32 channels, the last one
// of 16 where that is enough; within a panel, step by step of the depth, the panel's channels
// beside each other.
//   conv8: a step is 4 of the depth, a channel's 4 bytes adjacent.
//   conv4: a step is 8, 4 bytes a channel; byte j has value j in its low half and value 4 + j in
//   its high half. conv_f32: a step is 1.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {

constexpr int32_t kPanel = 32;
constexpr int32_t kHalfPanel = 16;

// Channels of the panel that begins where `left` channels are left.
constexpr int32_t PanelWidth(int32_t left) { return left > kHalfPanel ? kPanel : kHalfPanel; }
// Channels of all panels.
constexpr int64_t PanelChannels(int32_t channels) {
  return channels / kPanel * kPanel + (channels % kPanel ? PanelWidth(channels % kPanel) : 0);
}

// Bytes of a group; a panel begins at first channel * depth.
constexpr int64_t Group8Bytes(const ConvShape& shape) {
  return PanelChannels(shape.out_channels) * RoundUp(shape.Depth(), 4);
}
constexpr int64_t Group4Bytes(const ConvShape& shape) {
  return PanelChannels(shape.out_channels) * RoundUp(shape.Depth(), 8) / 2;
}
constexpr int64_t GroupF32Floats(const ConvShape& shape) {
  return PanelChannels(shape.out_channels) * shape.Depth();
}

// Depthwise, plain: [kernel_h * kernel_w][channels padded].
constexpr int64_t kDepthwiseBlock = 64;

}  // namespace ds::engine
