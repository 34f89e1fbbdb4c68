// What the tables of all sets that build on NEON have in common: Tiles for convolutions
// (conv8_inl.h), Products for dense8 (products8_inl.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/conv_f32_inl.h"
#include "deploy/engine/runtime/kernels/generic/float_rows_inl.h"
#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/neon/conv8_inl.h"
#include "deploy/engine/runtime/kernels/neon/dense8_inl.h"
#include "deploy/engine/runtime/kernels/neon/floats_inl.h"
#include "deploy/engine/runtime/kernels/neon/rows8_inl.h"

namespace ds::engine {
namespace {

constexpr int32_t kRowsF32 = 8;

template <typename Tiles>
int64_t NeonConvScratch(const ConvShape& shape) {
  return std::max(TiledConvScratch<Tiles>(shape), TiledConvF32Scratch<Floats128, kRowsF32>(shape));
}

template <typename Tiles, typename Products>
constexpr Kernels KernelsOfTiles(Isa isa, const char* name) {
  Kernels kernels = PlainKernels(isa, name);
  kernels.conv_scratch = NeonConvScratch<Tiles>;
  kernels.conv8 = TiledConv<Tiles, false>;
  kernels.conv4 = TiledConv<Tiles, true>;
  kernels.conv_f32 = TiledConvF32<Floats128, kRowsF32>;
  kernels.dense8 = TiledDense8<Products>;
  kernels.depthwise_f32 = DepthwiseF32<Floats128>;
  kernels.pool8 = NeonPool8;
  kernels.quantise = NeonQuantise;
  kernels.dequantise = NeonDequantise;
  kernels.add8 = NeonAdd8;
  kernels.multiply8 = NeonMultiply8;
  kernels.lookup8 = NeonLookup8;
  kernels.softmax_f32 = Floats<Floats128>::Softmax;
  kernels.layer_norm_f32 = Floats<Floats128>::LayerNorm;
  kernels.activate_f32 = Floats<Floats128>::Activate;
  kernels.binary_f32 = Floats<Floats128>::Binary;
  kernels.add_dots_f32 = Floats<Floats128>::AddDots;
  return kernels;
}

}  // namespace
}  // namespace ds::engine
