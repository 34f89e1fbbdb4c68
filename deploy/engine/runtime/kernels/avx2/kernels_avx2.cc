#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {

const Kernels& Avx2Kernels() {
  static constexpr Kernels kKernels = PlainKernels(Isa::kAvx2, "avx2");
  return kKernels;
}

}  // namespace ds::engine
