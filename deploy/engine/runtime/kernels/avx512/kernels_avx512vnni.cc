#include "deploy/engine/runtime/kernels/avx512/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx512/dense8_inl.h"
#include "deploy/engine/runtime/kernels/avx512/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/avx512/floats_inl.h"
#include "deploy/engine/runtime/kernels/avx512/rows8_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_f32_inl.h"
#include "deploy/engine/runtime/kernels/generic/float_rows_inl.h"
#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

int64_t ConvScratch(const ConvShape& shape) {
  return std::max(VnniConvScratch(shape), TiledConvF32Scratch<Floats512, kTileRows>(shape));
}

constexpr Kernels VnniKernels() {
  Kernels kernels = PlainKernels(Isa::kAvx512Vnni, "avx512vnni");
  kernels.conv_scratch = ConvScratch;
  kernels.conv_f32 = TiledConvF32<Floats512, kTileRows>;
  kernels.conv8 = VnniConvBytes<false>;
  kernels.dense8 = VnniDense8;
  kernels.conv4 = VnniConvBytes<true>;
  kernels.depthwise_scratch = VnniDepthwiseScratch;
  kernels.depthwise8 = VnniDepthwise8;
  kernels.add8 = Add8Rows512;
  kernels.multiply8 = Multiply8Rows512;
  kernels.lookup8 = Lookup8Rows512;
  kernels.quantise = QuantiseRows512;
  kernels.pool8 = Pool8Rows512;
  kernels.depthwise_f32 = DepthwiseF32<Floats512>;
  kernels.softmax_f32 = Floats<Floats512>::Softmax;
  kernels.layer_norm_f32 = Floats<Floats512>::LayerNorm;
  kernels.activate_f32 = Floats<Floats512>::Activate;
  kernels.binary_f32 = Floats<Floats512>::Binary;
  kernels.add_dots_f32 = Floats<Floats512>::AddDots;
  return kernels;
}

}  // namespace

const Kernels& Avx512VnniKernels() {
  static constexpr Kernels kKernels = VnniKernels();
  return kKernels;
}

}  // namespace ds::engine
