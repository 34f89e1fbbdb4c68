#include "deploy/engine/runtime/kernels/neon/quads8_inl.h"
#include "deploy/engine/runtime/kernels/neon/table_inl.h"
#include "deploy/engine/runtime/kernels/neondot/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/neondot/products8_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

constexpr Kernels Table() {
  Kernels kernels = KernelsOfTiles<Quads<DotProducts>, DotProducts>(Isa::kNeonDot, "neondot");
  kernels.depthwise_scratch = DotDepthwiseScratch;
  kernels.depthwise8 = DotDepthwise<DotProducts>::Run;
  return kernels;
}

}  // namespace

const Kernels& NeonDotKernels() {
  static constexpr Kernels kKernels = Table();
  return kKernels;
}

}  // namespace ds::engine
