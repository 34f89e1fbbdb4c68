// Weights as the kernels read them, packed ahead of time for one instruction set. Every function
// fills its output wholly, padding with zeros; outputs are aligned to 64 bytes. Today's instruction
// sets share one layout (layout.h), so that one packing serves them all.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine {

// Elements of a per-channel array of a convolution (each group padded to kChannelBlock) and of a
// depthwise one.
int64_t PaddedChannels(const ConvShape& shape);
int64_t PaddedDepthwiseChannels(const ConvShape& shape);

// weights: [groups * out_channels, kernel_h, kernel_w, in_channels]. Depth() <= kMaxDepth. No
// instruction set's size depends on the weights today; the caller should not rely on it.
int64_t PackedConvBytes(Isa isa, const ConvShape& shape, const int8_t* weights);
void PackConv(Isa isa, const ConvShape& shape, const int8_t* weights, uint8_t* packed);

// The same for weights in [-8, 7], two to a byte once packed.
int64_t PackedConv4Bytes(Isa isa, const ConvShape& shape);
void PackConv4(Isa isa, const ConvShape& shape, const int8_t* weights, uint8_t* packed);

// weights: [kernel_h, kernel_w, channels]; shape.groups is the number of channels.
int64_t PackedDepthwiseBytes(Isa isa, const ConvShape& shape);
void PackDepthwise(Isa isa, const ConvShape& shape, const int8_t* weights, uint8_t* packed);

// folded[c] = bias[c] - zero_point * (sum of channel c's weights), padded to PaddedChannels(); bias
// may be null. For convolutions, and for depthwise ones (with their own layout of weights). False
// where a sum could leave int32.
bool FoldBias(const ConvShape& shape, const int8_t* weights, const int32_t* bias,
              int32_t zero_point, int32_t* folded);
bool FoldDepthwiseBias(const ConvShape& shape, const int8_t* weights, const int32_t* bias,
                       int32_t zero_point, int32_t* folded);

// The values of one float a channel (null: zeros) padded to PaddedChannels(): multipliers, float
// biases.
void PadChannels(const ConvShape& shape, const float* values, float* padded);
void PadDepthwiseChannels(const ConvShape& shape, const float* values, float* padded);

// In floats.
int64_t PackedConvF32Floats(Isa isa, const ConvShape& shape);
void PackConvF32(Isa isa, const ConvShape& shape, const float* weights, float* packed);
int64_t PackedDepthwiseF32Floats(Isa isa, const ConvShape& shape);
void PackDepthwiseF32(Isa isa, const ConvShape& shape, const float* weights, float* packed);

// exponent[i] = round(exp((i - 255) * scale) * 2^22), at least 1 at i = 255: for SoftmaxArgs of at
// most 512 columns; the sum of more is bounded by a smaller factor: 2^31 / columns, rounded down to
// a power of two.
void SoftmaxTable(float scale, int32_t columns, int32_t* exponent);

}  // namespace ds::engine
