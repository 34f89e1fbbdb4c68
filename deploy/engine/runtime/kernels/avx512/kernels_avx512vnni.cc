#include "deploy/engine/runtime/kernels/generic/table_inl.h"
#include "deploy/engine/runtime/kernels/tables.h"

namespace ds::engine {

const Kernels& Avx512VnniKernels() {
  static constexpr Kernels kKernels = PlainKernels(Isa::kAvx512Vnni, "avx512vnni");
  return kKernels;
}

}  // namespace ds::engine
