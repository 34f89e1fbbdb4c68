#include "deploy/engine/runtime/kernels/neon/table_inl.h"
#include "deploy/engine/runtime/kernels/neondot/depthwise8_inl.h"
#include "deploy/engine/runtime/kernels/neoni8mm/products8_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {
namespace {

constexpr Kernels Table() {
  Kernels kernels = KernelsOfTiles<MatrixTiles, MatrixProducts>(Isa::kNeonI8mm, "neoni8mm");
  kernels.depthwise_scratch = DotDepthwiseScratch;
  kernels.depthwise8 = DotDepthwise<MatrixProducts>::Run;
  return kernels;
}

}  // namespace

const Kernels& NeonI8mmKernels() {
  static constexpr Kernels kKernels = Table();
  return kKernels;
}

}  // namespace ds::engine
