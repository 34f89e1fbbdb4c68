#include "deploy/engine/runtime/kernels/packed.h"

#include <initializer_list>
#include <limits>

#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();

bool AllWithin(std::initializer_list<int32_t> values, int32_t least, int64_t greatest) {
  for (int32_t value : values) {
    if (value < least || value > greatest) return false;
  }
  return true;
}

// Whether the product of values in [0, kMaxExtent] is at most `limit`, itself at most kLimit.
bool ProductFits(std::initializer_list<int32_t> values, int64_t limit) {
  int64_t product = 1;
  for (int32_t value : values) {
    product *= value;
    if (product > limit) return false;
  }
  return true;
}

// The greatest coordinate of a tap, and the smallest, along one axis.
bool AxisFits(int32_t out, int32_t stride, int32_t kernel, int32_t dilation) {
  return int64_t{out} * stride + int64_t{kernel} * dilation + kMaxExtent <= kLimit;
}

int64_t PackedBytes(PackedKind kind, const ConvShape& shape) {
  switch (kind) {
    case PackedKind::kConv8:
      return shape.groups * Group8Bytes(shape);
    case PackedKind::kConv4:
      return shape.groups * Group4Bytes(shape);
    case PackedKind::kDepthwise8:
      return DepthwiseBytes(shape);
    case PackedKind::kConvF32:
      return shape.groups * GroupF32Floats(shape) * static_cast<int64_t>(sizeof(float));
    case PackedKind::kDepthwiseF32:
      return DepthwiseF32Floats(shape) * static_cast<int64_t>(sizeof(float));
  }
  return std::numeric_limits<int64_t>::max();
}

}  // namespace

bool ShapeFits(const ConvShape& s) {
  return AllWithin({s.batch, s.in_h, s.in_w, s.in_channels, s.out_channels, s.groups, s.kernel_h,
                    s.kernel_w, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w},
                   1, kMaxExtent) &&
         AllWithin({s.out_h, s.out_w, s.pad_top, s.pad_left}, 0, kMaxExtent) &&
         ProductFits({s.kernel_h, s.kernel_w, s.in_channels}, kMaxDepth) &&
         ProductFits({s.batch, s.in_h, s.in_w}, kLimit) &&
         ProductFits({s.batch, s.out_h, s.out_w}, kLimit) &&
         ProductFits({s.groups, s.in_channels}, kLimit) &&
         ProductFits({s.groups, s.out_channels}, kLimit) &&
         ProductFits({s.kernel_h, s.kernel_w, s.in_channels, s.out_channels, s.groups}, kLimit) &&
         AxisFits(s.out_h, s.stride_h, s.kernel_h, s.dilation_h) &&
         AxisFits(s.out_w, s.stride_w, s.kernel_w, s.dilation_w);
}

bool PackedFits(PackedKind kind, Isa, const ConvShape& shape, const void* packed, int64_t bytes) {
  return packed && reinterpret_cast<uintptr_t>(packed) % 64 == 0 && ShapeFits(shape) &&
         bytes >= PackedBytes(kind, shape);
}

}  // namespace ds::engine
