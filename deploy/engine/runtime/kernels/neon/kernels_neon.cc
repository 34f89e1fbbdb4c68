#include "deploy/engine/runtime/kernels/neon/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/neon/products8_inl.h"
#include "deploy/engine/runtime/kernels/neon/quads8_inl.h"
#include "deploy/engine/runtime/kernels/neon/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

constexpr Kernels Table() {
  Kernels kernels = KernelsOfTiles<Quads<NeonProducts>, NeonProducts>(Isa::kNeon, "neon");
  kernels.depthwise_scratch = NeonDepthwiseScratch;
  kernels.depthwise8 = NeonDepthwise8;
  return kernels;
}

}  // namespace

const Kernels& NeonKernels() {
  static constexpr Kernels kKernels = Table();
  return kKernels;
}

}  // namespace ds::engine
