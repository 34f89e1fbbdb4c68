#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {

const Kernels& ScalarKernels() {
  static constexpr Kernels kKernels = PlainKernels(Isa::kScalar, "scalar");
  return kKernels;
}

}  // namespace ds::engine
