#include "deploy/engine/runtime/kernels/avx2/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/dense4_inl.h"
#include "deploy/engine/runtime/kernels/avx2/dense8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/depthwise3_inl.h"
#include "deploy/engine/runtime/kernels/avx2/floats_inl.h"
#include "deploy/engine/runtime/kernels/avx2/pairs8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/rows8_inl.h"
#include "deploy/engine/runtime/kernels/avx2/winograd8_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_f32_inl.h"
#include "deploy/engine/runtime/kernels/generic/float_rows_inl.h"
#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

int64_t ConvScratch(const ConvShape& shape) {
  return std::max({DirectConvScratch(shape), WinogradScratch(shape),
                   TiledConvF32Scratch<Floats256, kRows2>(shape)});
}

constexpr Kernels TwoKernels() {
  Kernels kernels = PlainKernels(Isa::kAvx2, "avx2");
  kernels.conv_scratch = ConvScratch;
  kernels.conv_f32 = TiledConvF32<Floats256, kRows2>;
  kernels.conv8 = WinogradOrDirect<false>;
  kernels.conv4 = WinogradOrDirect<true>;
  kernels.dense8 = Avx2Dense8;
  kernels.dense4 = Dense4<WordProducts4>;
  kernels.depthwise_scratch = Avx2DepthwiseScratch;
  kernels.depthwise8 = Avx2Depthwise8;
  kernels.add8 = Add8Rows256;
  kernels.multiply8 = Multiply8Rows256;
  kernels.lookup8 = Lookup8Rows256;
  kernels.quantise = QuantiseRows256;
  kernels.pool8 = Pool8Rows256;
  kernels.depthwise_f32 = DepthwiseF32<Floats256>;
  kernels.softmax_f32 = Floats<Floats256>::Softmax;
  kernels.layer_norm_f32 = Floats<Floats256>::LayerNorm;
  kernels.activate_f32 = Floats<Floats256>::Activate;
  kernels.binary_f32 = Floats<Floats256>::Binary;
  kernels.add_dots_f32 = Floats<Floats256>::AddDots;
  return kernels;
}

}  // namespace

const Kernels& Avx2Kernels() {
  static constexpr Kernels kKernels = TwoKernels();
  return kKernels;
}

}  // namespace ds::engine
