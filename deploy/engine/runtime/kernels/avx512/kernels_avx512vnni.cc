#include "deploy/engine/runtime/kernels/avx512/conv8_inl.h"
#include "deploy/engine/runtime/kernels/avx512/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

constexpr Kernels VnniKernels() {
  Kernels kernels = PlainKernels(Isa::kAvx512Vnni, "avx512vnni");
  kernels.conv_scratch = VnniConvScratch;
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
