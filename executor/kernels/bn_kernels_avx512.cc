// Batch normalisation kernels compiled for Avx512.
#define DS_BN_LANES 16
#include "executor/kernels/bn_kernels_inl.h"

namespace ds::executor {

const BnKernels& BnKernelsAvx512(bool bf16) { return LocalTable(bf16); }

}  // namespace ds::executor
