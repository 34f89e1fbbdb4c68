#include "deploy/engine/runtime/kernels/avx512/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx512/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/avx512/floats_inl.h"
#include "deploy/engine/runtime/kernels/generic/conv_f32_inl.h"
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
  kernels.conv4 = VnniConvBytes<true>;
  kernels.depthwise_scratch = VnniDepthwiseScratch;
  kernels.depthwise8 = VnniDepthwise8;
  return kernels;
}

}  // namespace

const Kernels& Avx512VnniKernels() {
  static constexpr Kernels kKernels = VnniKernels();
  return kKernels;
}

}  // namespace ds::engine
