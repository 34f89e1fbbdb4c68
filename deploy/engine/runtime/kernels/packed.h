// What a kernel trusts, checked before a file that anybody may have written is run. Packed weights
// hold no index and no count: any bytes are weights, so that sizes and shapes are all there is to
// check.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine {

enum class PackedKind : uint8_t { kConv8, kConv4, kDepthwise8, kConvF32, kDepthwiseF32 };

// The largest extent, kernel, stride, dilation, padding and number of channels or groups.
constexpr int32_t kMaxExtent = 1 << 20;

// Whether kernels can compute with the shape (of a convolution or a pool) without an overflow:
// every field is in [1, kMaxExtent] (padding: [0, kMaxExtent]; out_h and out_w too may be 0); at
// most kMaxDepth products in a sum; fewer than 2^31 input pixels, output pixels, channels of all
// groups on either side, weights, and input coordinates that a tap can name. Then scratch is fewer
// than 2^32 bytes. The caller still bounds: each image's last byte, as shape and strides have it,
// lies in its buffer and below 2^62; zero points, `low` and `high` are in [0, 255].
bool ShapeFits(const ConvShape& shape);

// Whether ShapeFits(), and `packed` (aligned to 64) has all the bytes that a kernel of the set
// reads for the shape: what the Pack functions of pack/ write, or more.
bool PackedFits(PackedKind kind, Isa isa, const ConvShape& shape, const void* packed,
                int64_t bytes);

}  // namespace ds::engine
