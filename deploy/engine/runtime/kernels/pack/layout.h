// The layouts of packed weights, shared by the functions that pack and the kernels that read.
//
// Matrix products (conv8, conv4, conv_f32), group after group: panels of 32 channels, the last one
// of 16 where that is enough; within a panel, step by step of the depth, the panel's channels
// beside each other.
//   conv8: a step is 4 of the depth, a channel's 4 bytes adjacent.
//   conv4: a step is 8, 4 bytes a channel; byte j has value j in its low half and value 4 + j in
//   its high half. conv_f32: a step is 1.
// Every instruction set of today reads the same layouts.
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

// Depthwise bytes: blocks of 64 channels, the last one padded; within a block, for each kernel_x
// and each four of kernel_y, 256 bytes: a channel's four bytes adjacent, zeros behind the last
// kernel_y. Channels stand in the order in which interleaving the bytes of four pixels leaves them
// where it works on 16 bytes at a time: vector v of four has the channels 16 * lane + 4 * v + i.
constexpr int64_t kDepthwiseBlock = 64;
constexpr int32_t kRowGroup = 4;

constexpr int32_t RowGroups(const ConvShape& shape) {
  return (shape.kernel_h + kRowGroup - 1) / kRowGroup;
}
constexpr int64_t DepthwiseBlockBytes(const ConvShape& shape) {
  return int64_t{shape.kernel_w} * RowGroups(shape) * kRowGroup * kDepthwiseBlock;
}
constexpr int64_t DepthwiseBytes(const ConvShape& shape) {
  return RoundUp(shape.groups, kDepthwiseBlock) / kDepthwiseBlock * DepthwiseBlockBytes(shape);
}
constexpr int64_t DepthwisePlace(const ConvShape& shape, int32_t ky, int32_t kx, int32_t channel) {
  const int32_t within = channel % 64;
  return channel / 64 * DepthwiseBlockBytes(shape) +
         (int64_t{kx} * RowGroups(shape) + ky / kRowGroup) * 256 + within % 16 / 4 * 64 +
         within / 16 * 16 + within % 4 * 4 + ky % kRowGroup;
}

// Depthwise floats: [kernel_h * kernel_w][channels padded].
constexpr int64_t DepthwiseF32Floats(const ConvShape& shape) {
  return int64_t{shape.kernel_h} * shape.kernel_w * RoundUp(shape.groups, kDepthwiseBlock);
}

}  // namespace ds::engine
