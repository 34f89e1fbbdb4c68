// A table of kernels all of which are the plain loops, compiled for whichever instruction set
// includes it.
#pragma once

#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/dense4_inl.h"
#include "deploy/engine/runtime/kernels/generic/dense8_inl.h"
#include "deploy/engine/runtime/kernels/generic/depthwise_inl.h"
#include "deploy/engine/runtime/kernels/generic/rows_inl.h"
#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine {
namespace {

constexpr Kernels PlainKernels(Isa isa, const char* name) {
  return {.isa = isa,
          .name = name,
          .conv_scratch = PlainConvScratch,
          .depthwise_scratch = [](const ConvShape&) -> int64_t { return 0; },
          .conv8 = PlainConvBytes<false>,
          .conv4 = PlainConvBytes<true>,
          .conv_f32 = PlainConvF32,
          .dense8 = PlainDense8,
          .dense4 = Dense4<PlainProducts4<int32_t, uint8_t>>,
          .dense4_f32 = Dense4<PlainProducts4<float, float>>,
          .depthwise8 = PlainDepthwise8,
          .depthwise_f32 = PlainDepthwiseF32,
          .pool8 = PlainPool8,
          .pool_f32 = PlainPoolF32,
          .resize_nearest = PlainResizeNearest,
          .quantise = PlainQuantise,
          .dequantise = PlainDequantise,
          .add8 = PlainAdd8,
          .multiply8 = PlainMultiply8,
          .lookup8 = PlainLookup8,
          .copy = PlainCopy,
          .softmax8 = PlainSoftmax8,
          .softmax_f32 = PlainSoftmaxF32,
          .layer_norm_f32 = PlainLayerNormF32,
          .binary_f32 = PlainBinaryF32,
          .activate_f32 = PlainActivateF32,
          .add_dots_f32 = PlainAddDotsF32};
}

}  // namespace
}  // namespace ds::engine
